#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// A file in a zip archive.
struct ZipEntry {
  std::string_view name;             ///< printable ASCII, relative, with slashes between folders
  std::span<const std::byte> bytes;  ///< as they lie in the archive: compressed unless method is 0
  std::uint16_t method = 0;          ///< of compression; 0 is none
  std::uint32_t crc32 = 0;           ///< of the file, as the archive has it; 0 if it has none
};

/// A zip archive whose files are stored as they are, as torch.save writes it. It is read from its
/// central directory (PKWARE's APPNOTE 6.3.9, ZIP64 too). Entries are views of the archive's bytes,
/// which must outlive it. Nothing in the archive is trusted.
class ZipArchive {
 public:
  /// Throws FileError if the archive is damaged; if entries overlap, share a name, are encrypted,
  /// or have another name than printable ASCII inside the archive; if anything stands after its
  /// end. `origin` names the file in errors.
  static ZipArchive parse(std::string origin, std::span<const std::byte> bytes);

  /// The entry, or nullptr if there is none of this name.
  [[nodiscard]] const ZipEntry* find(std::string_view name) const;
  /// All entries, in the order of their names.
  [[nodiscard]] std::span<const ZipEntry> entries() const { return entries_; }

  /// What is in the file. Throws FileError if it is compressed: nothing is ever decompressed.
  [[nodiscard]] std::span<const std::byte> content(const ZipEntry& entry) const;
  /// The same, all of which is read to compare its CRC-32 if the archive has one. Throws FileError
  /// if it differs.
  [[nodiscard]] std::span<const std::byte> checked_content(const ZipEntry& entry) const;

  [[nodiscard]] const std::string& origin() const { return origin_; }

 private:
  explicit ZipArchive(std::string origin) : origin_(std::move(origin)) {}

  std::string origin_;
  std::vector<ZipEntry> entries_;
};

}  // namespace fathom
