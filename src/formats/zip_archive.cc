#include "formats/zip_archive.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <boost/crc.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "formats/file_kind.h"
#include "formats/printable.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "read as a little-endian machine does");

constexpr std::uint32_t local_signature = 0x04034b50;
constexpr std::uint32_t central_signature = 0x02014b50;
constexpr std::uint32_t end_signature = 0x06054b50;
constexpr std::uint32_t zip64_end_signature = 0x06064b50;
constexpr std::uint32_t zip64_locator_signature = 0x07064b50;

constexpr std::size_t local_header_bytes = 30;
constexpr std::size_t central_header_bytes = 46;
constexpr std::size_t end_bytes = 22;
constexpr std::size_t zip64_end_bytes = 56;
constexpr std::size_t zip64_locator_bytes = 20;

constexpr std::uint16_t zip64_extra_id = 1;
constexpr std::size_t longest_name = 1000;

// In 16 and 32 bits: the number is in a ZIP64 record instead.
constexpr std::uint16_t elsewhere16 = std::numeric_limits<std::uint16_t>::max();
constexpr std::uint32_t elsewhere32 = std::numeric_limits<std::uint32_t>::max();

// Flags that leave stored bytes as they are: two for compressors, the sizes standing behind the
// data (the central directory has them too), names in UTF-8.
constexpr unsigned encrypted_flag = 1U << 0U;
constexpr unsigned sizes_behind_flag = 1U << 3U;
constexpr unsigned harmless_flags = 1U << 1U | 1U << 2U | sizes_behind_flag | 1U << 11U;

/// Numbers at offsets in a record whose length was checked.
class Record {
 public:
  explicit Record(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  [[nodiscard]] T number(std::size_t offset) const {
    T value;
    std::memcpy(&value, bytes_.subspan(offset, sizeof value).data(), sizeof value);
    return value;
  }
  [[nodiscard]] std::uint16_t u16(std::size_t offset) const {
    return number<std::uint16_t>(offset);
  }
  [[nodiscard]] std::uint32_t u32(std::size_t offset) const {
    return number<std::uint32_t>(offset);
  }
  [[nodiscard]] std::uint64_t u64(std::size_t offset) const {
    return number<std::uint64_t>(offset);
  }

 private:
  std::span<const std::byte> bytes_;
};

/// Where the central directory lies, and how many entries it lists.
struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t entries = 0;
};

/// An entry as the central directory describes it.
struct CentralEntry {
  std::string_view name;
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint32_t crc32 = 0;
  std::uint64_t compressed = 0;  // the size of the bytes in the archive
  std::uint64_t size = 0;        // that of the file
  std::uint64_t offset = 0;      // of its local header
};

/// Where an entry lies: its local header and its bytes, one behind the other.
struct Extent {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string_view name;
};

class ArchiveReader {
 public:
  ArchiveReader(const std::string& file, std::span<const std::byte> bytes)
      : file_(file), bytes_(bytes) {}

  /// In the order of their names.
  [[nodiscard]] std::vector<ZipEntry> read() const {
    const Directory directory = read_end();
    std::vector<ZipEntry> entries;
    std::vector<Extent> extents;
    entries.reserve(static_cast<std::size_t>(directory.entries));
    extents.reserve(static_cast<std::size_t>(directory.entries));
    std::span<const std::byte> rest = bytes_.subspan(static_cast<std::size_t>(directory.offset),
                                                     static_cast<std::size_t>(directory.size));
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      const CentralEntry entry = read_central(rest);
      const std::span<const std::byte> data = locate(entry, directory.offset);
      entries.push_back({entry.name, data, entry.method, entry.crc32});
      extents.push_back(
          {static_cast<std::size_t>(entry.offset), offset_of(data) + data.size(), entry.name});
    }
    if (!rest.empty()) {
      fail(place(rest), fmt::format("{} bytes found behind the last of {} entries", rest.size(),
                                    directory.entries));
    }
    check_extents(extents);
    std::ranges::sort(entries, {}, &ZipEntry::name);
    const auto twice = std::ranges::adjacent_find(entries, {}, &ZipEntry::name);
    if (twice != entries.end()) fail(entry_place(twice->name), "the name is there twice");
    return entries;
  }

 private:
  [[noreturn]] void fail(std::string_view where, std::string_view problem) const {
    throw FileError(file_, where, problem);
  }

  static std::string entry_place(std::string_view name) {
    return fmt::format("zip entry {}", printable_name(name));
  }

  // `part` is of the archive's bytes.
  [[nodiscard]] std::size_t offset_of(std::span<const std::byte> part) const {
    return static_cast<std::size_t>(part.data() - bytes_.data());
  }
  [[nodiscard]] std::string place(std::span<const std::byte> part) const {
    return fmt::format("byte {}", offset_of(part));
  }

  // The end record is the last in the file. Where programs look for it further ahead they can be
  // made to see different archives in one file, and torch.save leaves nothing behind it.
  [[nodiscard]] Directory read_end() const {
    if (bytes_.size() < end_bytes) {
      fail("byte 0", fmt::format("{} found, a zip archive expected", describe_file_kind(bytes_)));
    }
    const std::size_t at = bytes_.size() - end_bytes;
    const Record end(bytes_.subspan(at));
    const std::string where = fmt::format("byte {}", at);
    if (end.u32(0) != end_signature || end.u16(20) != 0) {
      if (Record(bytes_).u32(0) != local_signature && Record(bytes_).u32(0) != end_signature) {
        fail("byte 0", fmt::format("{} found, a zip archive expected", describe_file_kind(bytes_)));
      }
      fail(
          where,
          "no zip end record found; the last 22 bytes of the file must be one. Is the file whole?");
    }
    Directory directory{.offset = end.u32(16), .size = end.u32(12), .entries = end.u16(10)};
    if (end.u16(4) != 0 && end.u16(4) != elsewhere16) fail(where, several_disks);
    if (end.u16(6) != end.u16(4) || end.u16(8) != end.u16(10)) fail(where, several_disks);
    std::size_t directory_end = at;
    if (const std::optional<std::size_t> zip64 = find_zip64_end(at)) {
      directory = merge(directory, read_zip64_end(*zip64), fmt::format("byte {}", *zip64));
      directory_end = *zip64;
    }
    check_directory(directory, directory_end, where);
    return directory;
  }

  // Of the ZIP64 end record, if the locator that stands before the end record says there is one.
  [[nodiscard]] std::optional<std::size_t> find_zip64_end(std::size_t end) const {
    if (end < zip64_locator_bytes) return std::nullopt;
    const std::size_t at = end - zip64_locator_bytes;
    const Record locator(bytes_.subspan(at));
    if (locator.u32(0) != zip64_locator_signature) return std::nullopt;
    const std::string where = fmt::format("byte {}", at);
    if (locator.u32(4) != 0 || locator.u32(16) > 1) fail(where, several_disks);
    const auto offset = locator.u64(8);
    if (at < zip64_end_bytes || offset != at - zip64_end_bytes) {
      fail(where, fmt::format("a ZIP64 end record at byte {} found, one right before this expected",
                              offset));
    }
    return static_cast<std::size_t>(offset);
  }

  [[nodiscard]] Directory read_zip64_end(std::size_t at) const {
    const Record end(bytes_.subspan(at));
    const std::string where = fmt::format("byte {}", at);
    if (end.u32(0) != zip64_end_signature || end.u64(4) != zip64_end_bytes - 12) {
      fail(where, "a ZIP64 end record of 56 bytes expected");
    }
    if (end.u32(16) != 0 || end.u32(20) != 0 || end.u64(24) != end.u64(32)) {
      fail(where, several_disks);
    }
    return {.offset = end.u64(48), .size = end.u64(40), .entries = end.u64(32)};
  }

  // What the end record says itself must agree with the ZIP64 record.
  [[nodiscard]] Directory merge(const Directory& end, const Directory& zip64,
                                std::string_view where) const {
    const bool agree = (end.entries == elsewhere16 || end.entries == zip64.entries) &&
                       (end.size == elsewhere32 || end.size == zip64.size) &&
                       (end.offset == elsewhere32 || end.offset == zip64.offset);
    if (!agree) fail(where, "the two end records of the zip archive disagree");
    return zip64;
  }

  void check_directory(const Directory& directory, std::size_t end, std::string_view where) const {
    if (directory.offset > end || directory.size != end - directory.offset) {
      fail(where, fmt::format("a central directory of {} bytes at byte {} found, one that ends at "
                              "byte {} expected",
                              directory.size, directory.offset, end));
    }
    if (directory.entries > directory.size / central_header_bytes) {
      fail(where, fmt::format("{} entries found, which need at least {} bytes each; the central "
                              "directory has {} bytes",
                              directory.entries, central_header_bytes, directory.size));
    }
  }

  // Takes the first entry off `rest`.
  [[nodiscard]] CentralEntry read_central(std::span<const std::byte>& rest) const {
    const std::string where = place(rest);
    if (rest.size() < central_header_bytes || Record(rest).u32(0) != central_signature) {
      fail(where, "an entry of the zip archive's central directory expected");
    }
    const Record header(rest);
    const std::size_t name_bytes = header.u16(28);
    const std::size_t extra_bytes = header.u16(30);
    const std::size_t comment_bytes = header.u16(32);
    const std::size_t total = central_header_bytes + name_bytes + extra_bytes + comment_bytes;
    if (rest.size() < total) {
      fail(where, fmt::format("an entry of {} bytes found, {} bytes are left in the central "
                              "directory",
                              total, rest.size()));
    }
    const std::string_view name = text(rest.subspan(central_header_bytes, name_bytes));
    check_name(name, where);
    if (header.u16(34) != 0 && header.u16(34) != elsewhere16)
      fail(entry_place(name), several_disks);
    check_flags(name, header.u16(8));

    CentralEntry entry{.name = name,
                       .flags = header.u16(8),
                       .method = header.u16(10),
                       .crc32 = header.u32(16),
                       .compressed = header.u32(20),
                       .size = header.u32(24),
                       .offset = header.u32(42)};
    Zip64Extra wide(*this, name, rest.subspan(central_header_bytes + name_bytes, extra_bytes));
    for (std::uint64_t* const number : {&entry.size, &entry.compressed, &entry.offset}) {
      if (*number == elsewhere32) *number = wide.next();
    }
    if (entry.method == 0 && entry.compressed != entry.size) {
      fail(entry_place(name), fmt::format("{} bytes stored as {} found, as many expected",
                                          entry.size, entry.compressed));
    }
    rest = rest.subspan(total);
    return entry;
  }

  // Names are looked up and shown, never used as a path. They are held to what a path inside the
  // archive may be all the same: others mean that somebody tries something.
  void check_name(std::string_view name, std::string_view where) const {
    const auto refuse = [&](std::string_view expected) {
      fail(where,
           fmt::format("a zip entry named {} found, {} expected", printable_name(name), expected));
    };
    if (name.empty() || name.size() > longest_name) {
      refuse(fmt::format("a name of 1 to {} bytes", longest_name));
    }
    if (!std::ranges::all_of(name, [](char c) { return c >= 0x20 && c < 0x7f && c != '\\'; })) {
      refuse("printable ASCII without backslashes");
    }
    const std::string framed = fmt::format("/{}/", name);
    if (name.starts_with('/') || framed.find("/../") != std::string::npos) {
      refuse("a path inside the archive");
    }
  }

  void check_flags(std::string_view name, unsigned flags) const {
    if ((flags & encrypted_flag) != 0) fail(entry_place(name), "it is encrypted");
    if ((flags & ~harmless_flags) != 0) {
      fail(entry_place(name), fmt::format("flags {:#06x} found, which are not supported", flags));
    }
  }

  /// The bytes of an entry. Its local header must say what the central directory says.
  [[nodiscard]] std::span<const std::byte> locate(const CentralEntry& entry,
                                                  std::uint64_t directory) const {
    const auto refuse = [&](std::string_view problem) { fail(entry_place(entry.name), problem); };
    // All that is before the directory.
    const std::span<const std::byte> data = bytes_.first(static_cast<std::size_t>(directory));
    if (entry.offset > data.size() || data.size() - entry.offset < local_header_bytes) {
      refuse(fmt::format("its header is at byte {}, but the central directory is at byte {}",
                         entry.offset, directory));
    }
    const std::span<const std::byte> rest = data.subspan(static_cast<std::size_t>(entry.offset));
    const Record header(rest);
    if (header.u32(0) != local_signature) {
      refuse(fmt::format("no header of an entry found at byte {}", entry.offset));
    }
    const std::size_t name_bytes = header.u16(26);
    const std::size_t extra_bytes = header.u16(28);
    const std::size_t header_bytes = local_header_bytes + name_bytes + extra_bytes;
    if (rest.size() < header_bytes || rest.size() - header_bytes < entry.compressed) {
      refuse(fmt::format("{} bytes at byte {} found, the central directory is at byte {}",
                         entry.compressed, entry.offset + header_bytes, directory));
    }
    if (text(rest.subspan(local_header_bytes, name_bytes)) != entry.name ||
        header.u16(6) != entry.flags || header.u16(8) != entry.method) {
      refuse(fmt::format("name, flags or method are others at byte {}", entry.offset));
    }
    for (const auto& [offset, expected] :
         {std::pair(18, entry.compressed), std::pair(22, entry.size)}) {
      const std::uint32_t size = header.u32(static_cast<std::size_t>(offset));
      const bool left_out = size == 0 && (entry.flags & sizes_behind_flag) != 0;
      if (size != expected && size != elsewhere32 && !left_out) {
        refuse(fmt::format("{} bytes found at byte {}, {} in the central directory", size,
                           entry.offset, expected));
      }
    }
    return rest.subspan(header_bytes, static_cast<std::size_t>(entry.compressed));
  }

  // Entries that share bytes are how a small archive is made to hold a lot.
  void check_extents(std::vector<Extent>& extents) const {
    std::ranges::sort(extents, {}, [](const Extent& e) { return std::pair(e.begin, e.end); });
    const auto overlap = std::ranges::adjacent_find(
        extents, [](const Extent& a, const Extent& b) { return a.end > b.begin; });
    if (overlap != extents.end()) {
      fail(entry_place(overlap->name),
           fmt::format("its bytes overlap those of {}", printable_name(std::next(overlap)->name)));
    }
  }

  /// The numbers of an entry that do not fit in 32 bits, in the order in which they are asked for.
  class Zip64Extra {
   public:
    Zip64Extra(const ArchiveReader& reader, std::string_view name, std::span<const std::byte> extra)
        : reader_(reader), name_(name) {
      while (extra.size() >= 4) {
        const std::uint16_t id = Record(extra).u16(0);
        const std::size_t size = Record(extra).u16(2);
        extra = extra.subspan(4);
        if (size > extra.size()) break;
        if (id == zip64_extra_id) {
          numbers_ = extra.first(size);
          return;
        }
        extra = extra.subspan(size);
      }
    }

    std::uint64_t next() {
      if (numbers_.size() < sizeof(std::uint64_t)) {
        reader_.fail(entry_place(name_), "its ZIP64 sizes are missing");
      }
      const std::uint64_t value = Record(numbers_).u64(0);
      numbers_ = numbers_.subspan(sizeof value);
      return value;
    }

   private:
    const ArchiveReader& reader_;
    std::string_view name_;
    std::span<const std::byte> numbers_;
  };

  static std::string_view text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  static constexpr std::string_view several_disks =
      "a zip archive on several disks found, which is not supported";

  const std::string& file_;
  std::span<const std::byte> bytes_;
};

}  // namespace

ZipArchive ZipArchive::parse(std::string origin, std::span<const std::byte> bytes) {
  ZipArchive archive(std::move(origin));
  archive.entries_ = ArchiveReader(archive.origin_, bytes).read();
  return archive;
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto where = std::ranges::lower_bound(entries_, name, {}, &ZipEntry::name);
  return where != entries_.end() && where->name == name ? &*where : nullptr;
}

std::span<const std::byte> ZipArchive::content(const ZipEntry& entry) const {
  if (entry.method == 0) return entry.bytes;
  throw FileError(origin_, fmt::format("zip entry {}", printable_name(entry.name)),
                  fmt::format("it is compressed (method {}); stored bytes, as torch.save writes "
                              "them, expected",
                              entry.method));
}

std::span<const std::byte> ZipArchive::checked_content(const ZipEntry& entry) const {
  const std::span<const std::byte> bytes = content(entry);
  if (entry.crc32 == 0) return bytes;
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  if (crc.checksum() != entry.crc32) {
    throw FileError(origin_, fmt::format("zip entry {}", printable_name(entry.name)),
                    fmt::format("CRC-32 {:08x} found, {:08x} expected: the file is damaged",
                                crc.checksum(), entry.crc32));
  }
  return bytes;
}

}  // namespace fathom
