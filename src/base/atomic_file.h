#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace fathom {

/// A file that is written aside, beside its final name, and takes that name only when it is whole:
/// whoever looks sees the old file or the whole new one, also after a kill. What is not committed
/// goes with this object.
class AtomicFile {
 public:
  /// `size` bytes are going to be written: where the file system can, they are set aside now, so
  /// that a disk without room for them is noticed before the work is done. Throws FileError if the
  /// file cannot be made, there is no room, or something other than a regular file has the name.
  AtomicFile(const std::filesystem::path& path, std::uint64_t size);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Throws FileError if it cannot be written.
  void append(std::span<const std::byte> bytes);
  /// Syncs the file and renames it into place. Throws FileError if that fails; the old file is then
  /// as it was. Nothing may be appended afterwards.
  void commit();

 private:
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_;
  std::string aside_;
  int file_;
};

/// Writes a whole file in that way. Throws FileError likewise.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace fathom
