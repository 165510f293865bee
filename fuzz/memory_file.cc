#include "fuzz/memory_file.h"

#include <cerrno>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

namespace fathom {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

MemoryFile::MemoryFile() : descriptor_(::memfd_create("input", MFD_CLOEXEC)) {
  if (descriptor_ < 0) fail("memfd_create");
}

MemoryFile::~MemoryFile() { ::close(descriptor_); }

void MemoryFile::write(std::span<const std::byte> bytes) const {
  if (::ftruncate(descriptor_, 0) != 0) fail("ftruncate");
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n =
        ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0) fail("pwrite");
    done += static_cast<std::size_t>(n);
  }
}

std::filesystem::path MemoryFile::path() const {
  return fmt::format("/proc/self/fd/{}", descriptor_);
}

}  // namespace fathom
