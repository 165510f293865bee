#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/crc.hpp>

namespace fathom {

/// For tests: an entry of a zip archive, with fields to set wrong.
struct ZipTestEntry {
  enum class Sizes { in_headers, behind_data, in_zip64 };

  std::string name;
  std::string data;
  Sizes sizes = Sizes::in_headers;
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint16_t disk = 0;
  std::string local_extra;  ///< of the local header, as torch.save's padding
  std::optional<std::string> local_name;
  std::optional<std::uint32_t> local_size;
  std::optional<std::uint64_t> size;        ///< in the central directory, in place of data's
  std::optional<std::uint64_t> compressed;  ///< the same of the compressed size
  std::optional<std::uint64_t> offset;      ///< in the central directory, of the local header
  std::optional<std::uint32_t> crc32;       ///< in both headers
};

/// For tests: a zip archive of stored files, sound unless a field says otherwise.
struct ZipTestWriter {
  enum class End { plain, zip64 };

  std::vector<ZipTestEntry> entries;
  End end = End::plain;
  std::uint16_t disk = 0;
  std::optional<std::uint64_t> entry_count;
  std::optional<std::uint64_t> directory_size;
  std::optional<std::uint64_t> directory_offset;
  std::string gap;  ///< between the entries and the central directory

  [[nodiscard]] std::string bytes() const {
    std::string out;
    std::string directory;
    for (const ZipTestEntry& entry : entries) {
      const std::uint64_t offset = entry.offset.value_or(out.size());
      put_local(out, entry);
      put_central(directory, entry, offset);
    }
    out += gap;
    const std::uint64_t offset = directory_offset.value_or(out.size());
    const std::uint64_t size = directory_size.value_or(directory.size());
    out += directory;
    const std::uint64_t count = entry_count.value_or(entries.size());
    if (end == End::zip64) {
      const std::size_t at = out.size();
      out += "PK\x06\x06";
      put<std::uint64_t>(out, 44);
      put<std::uint16_t>(out, 45);
      put<std::uint16_t>(out, 45);
      put<std::uint32_t>(out, disk);
      put<std::uint32_t>(out, disk);
      put<std::uint64_t>(out, count);
      put<std::uint64_t>(out, count);
      put<std::uint64_t>(out, size);
      put<std::uint64_t>(out, offset);
      out += "PK\x06\x07";
      put<std::uint32_t>(out, 0);
      put<std::uint64_t>(out, at);
      put<std::uint32_t>(out, 1);
    }
    const bool wide = end == End::zip64;
    out += "PK\x05\x06";
    put<std::uint16_t>(out, wide ? 0 : disk);
    put<std::uint16_t>(out, wide ? 0 : disk);
    put<std::uint16_t>(out, wide ? 0xffff : count);
    put<std::uint16_t>(out, wide ? 0xffff : count);
    put<std::uint32_t>(out, wide ? 0xffffffff : size);
    put<std::uint32_t>(out, wide ? 0xffffffff : offset);
    put<std::uint16_t>(out, 0);
    return out;
  }

  static std::uint32_t crc32_of(std::string_view data) {
    boost::crc_32_type crc;
    crc.process_bytes(data.data(), data.size());
    return crc.checksum();
  }

  /// Little-endian, cut to the type's size.
  template <class T>
  static void put(std::string& out, std::uint64_t number) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      out += static_cast<char>(static_cast<unsigned char>(number >> (8 * i)));
    }
  }

 private:
  using Sizes = ZipTestEntry::Sizes;

  static constexpr std::uint32_t elsewhere = std::numeric_limits<std::uint32_t>::max();

  static std::uint16_t flags_of(const ZipTestEntry& entry) {
    return static_cast<std::uint16_t>(entry.flags | (entry.sizes == Sizes::behind_data ? 8U : 0U));
  }

  static void put_local(std::string& out, const ZipTestEntry& entry) {
    const std::string& name = entry.local_name ? *entry.local_name : entry.name;
    std::string extra = entry.local_extra;
    std::uint32_t size = static_cast<std::uint32_t>(entry.data.size());
    if (entry.sizes == Sizes::behind_data) size = 0;
    if (entry.sizes == Sizes::in_zip64) {
      put<std::uint16_t>(extra, 1);
      put<std::uint16_t>(extra, 16);
      put<std::uint64_t>(extra, entry.data.size());
      put<std::uint64_t>(extra, entry.data.size());
      size = elsewhere;
    }
    size = entry.local_size.value_or(size);
    const std::uint32_t crc = entry.crc32 ? *entry.crc32 : crc32_of(entry.data);
    out += "PK\x03\x04";
    put<std::uint16_t>(out, 20);
    put<std::uint16_t>(out, flags_of(entry));
    put<std::uint16_t>(out, entry.method);
    put<std::uint32_t>(out, 0);  // time and date
    put<std::uint32_t>(out, entry.sizes == Sizes::behind_data ? 0 : crc);
    put<std::uint32_t>(out, size);
    put<std::uint32_t>(out, size);
    put<std::uint16_t>(out, name.size());
    put<std::uint16_t>(out, extra.size());
    out += name + extra + entry.data;
    if (entry.sizes == Sizes::behind_data) {
      out += "PK\x07\x08";
      put<std::uint32_t>(out, crc);
      put<std::uint32_t>(out, entry.data.size());
      put<std::uint32_t>(out, entry.data.size());
    }
  }

  static void put_central(std::string& out, const ZipTestEntry& entry, std::uint64_t offset) {
    const std::uint64_t size = entry.size.value_or(entry.data.size());
    const std::uint64_t compressed = entry.compressed.value_or(size);
    std::string extra;
    const bool wide = entry.sizes == Sizes::in_zip64;
    if (wide) {
      put<std::uint16_t>(extra, 0x4246);  // another program's, to be passed over
      put<std::uint16_t>(extra, 3);
      extra += "abc";
      put<std::uint16_t>(extra, 1);
      put<std::uint16_t>(extra, 24);
      put<std::uint64_t>(extra, size);
      put<std::uint64_t>(extra, compressed);
      put<std::uint64_t>(extra, offset);
    }
    out += "PK\x01\x02";
    put<std::uint16_t>(out, 20);
    put<std::uint16_t>(out, 20);
    put<std::uint16_t>(out, flags_of(entry));
    put<std::uint16_t>(out, entry.method);
    put<std::uint32_t>(out, 0);
    put<std::uint32_t>(out, entry.crc32 ? *entry.crc32 : crc32_of(entry.data));
    put<std::uint32_t>(out, wide ? elsewhere : compressed);
    put<std::uint32_t>(out, wide ? elsewhere : size);
    put<std::uint16_t>(out, entry.name.size());
    put<std::uint16_t>(out, extra.size());
    put<std::uint16_t>(out, 0);
    put<std::uint16_t>(out, entry.disk);
    put<std::uint16_t>(out, 0);
    put<std::uint32_t>(out, 0);
    put<std::uint32_t>(out, wide ? elsewhere : offset);
    out += entry.name + extra;
  }
};

}  // namespace fathom
