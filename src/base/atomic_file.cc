#include "base/atomic_file.h"

#include <cerrno>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {
namespace {

// The error number of a call that failed; 0 of one that did not.
int error_of_call(int result) { return result == 0 ? 0 : errno; }

// Only where the file system itself can: writing zeros instead would write everything twice.
int set_aside(int file, std::uint64_t size) {
  if (size == 0) return 0;
  const int error = error_of_call(::fallocate(file, 0, 0, static_cast<off_t>(size)));
  return error == EOPNOTSUPP || error == ENOSYS || error == EINTR ? 0 : error;
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path, std::uint64_t size)
    : path_(path), aside_(fmt::format("{}.{}.part", path.string(), ::getpid())), file_(-1) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw FileError(path.string(), "",
                    "cannot write: something other than a regular file is there");
  }
  file_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail(errno);
  if (const int error = set_aside(file_, size); error != 0) {
    ::close(file_);
    ::unlink(aside_.c_str());
    fail(error);
  }
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(aside_.c_str());
}

void AtomicFile::fail(int error) const {
  throw FileError(path_.string(), "",
                  fmt::format("cannot write: {}", std::generic_category().message(error)));
}

void AtomicFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      fail(errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::commit() {
  // If less came than was set aside, the rest is given back.
  const off_t written = ::lseek(file_, 0, SEEK_CUR);
  int error = written < 0 ? errno : error_of_call(::ftruncate(file_, written));
  if (error == 0) error = error_of_call(::fsync(file_));
  if (const int closed = error_of_call(::close(file_)); error == 0) error = closed;
  file_ = -1;
  if (error == 0) error = error_of_call(::rename(aside_.c_str(), path_.c_str()));
  if (error == 0) return;
  ::unlink(aside_.c_str());
  fail(error);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path, bytes.size());
  file.append(std::as_bytes(std::span(bytes)));
  file.commit();
}

}  // namespace fathom
