#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace fathom {

/// A whole file, mapped read-only into memory. Moves; does not copy.
class MappedFile {
 public:
  /// Throws FileError if the file cannot be opened, is not a regular file, or cannot be mapped.
  /// An empty file gives an empty span.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Tells the system that mapped bytes will not be read again soon, so that they stop counting as
/// this process's resident memory. They stay readable (and usually in the page cache). Only whole
/// pages inside `bytes` are released. `bytes` must lie in a MappedFile or be empty.
void release_resident(std::span<const std::byte> bytes);

/// Reads a whole file into a string. Throws FileError if it cannot be read or is larger than
/// `max_bytes`, before taking the memory.
std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace fathom
