#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace fathom {

/// A file in memory, for code that reads from a path.
class MemoryFile {
 public:
  MemoryFile();
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  /// Replaces what is in it, so nothing may have it mapped.
  void write(std::span<const std::byte> bytes) const;
  [[nodiscard]] std::filesystem::path path() const;

 private:
  int descriptor_;
};

}  // namespace fathom
