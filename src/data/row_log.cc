#include "data/row_log.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, std::string_view action) {
  throw FileError(path.string(), "",
                  fmt::format("cannot {}: {}", action, std::generic_category().message(errno)));
}

// Opens the file that is at `path` and locks it. A RowLog that ends may just then have put another
// file there, in which case that one is opened.
int open_locked(const std::filesystem::path& path) {
  for (;;) {
    // Without waiting for the other end if it is a pipe.
    const int file =
        ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
    if (file < 0) fail(path, "open");
    struct stat opened {};
    struct stat there {};
    if (::fstat(file, &opened) != 0 || !S_ISREG(opened.st_mode)) {
      ::close(file);
      throw FileError(path.string(), "", "no file that rows can be added to");
    }
    if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
      ::close(file);
      throw FileError(path.string(), "", "another fathom is writing it");
    }
    if (::stat(path.c_str(), &there) == 0 && there.st_ino == opened.st_ino &&
        there.st_dev == opened.st_dev) {
      return file;
    }
    ::close(file);
  }
}

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// The lines of a text that ends with a line end, each with its own.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    lines.push_back(text.substr(0, text.find('\n') + 1));
    text.remove_prefix(lines.back().size());
  }
  return lines;
}

}  // namespace

RowLog::RowLog(const std::filesystem::path& path, std::string_view beginning)
    : path_(path), file_(open_locked(path)) {
  try {
    find_torn_line(beginning);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

RowLog::~RowLog() { ::close(file_); }

void RowLog::find_torn_line(std::string_view beginning) {
  const MappedFile file(path_);
  const std::string_view text = text_of(file);
  whole_ = text.rfind('\n') + 1;  // npos + 1 is 0
  const std::string_view rest = text.substr(whole_);
  torn_ = !rest.empty();
  if (!rest.starts_with(beginning) && !beginning.starts_with(rest)) {
    throw FileError(path_.string(), "last line",
                    fmt::format("unfinished, and no row: one begins with {}", beginning));
  }
}

void RowLog::read(const std::function<void(const JsonLine& row)>& row) const {
  const MappedFile file(path_);
  JsonLine line;
  for (const std::string_view text : lines_of(text_of(file).substr(0, whole_))) {
    ++line.number;
    line.place = fmt::format("{}: line {}", path_.string(), line.number);
    line.value = parse_json(text, line.place);
    row(line);
  }
}

void RowLog::append(std::string_view row) {
  if (torn_ && ::ftruncate(file_, static_cast<off_t>(whole_)) != 0) fail(path_, "write");
  torn_ = true;  // until the row is whole
  const std::string line = fmt::format("{}\n", row);
  std::string_view left = line;
  while (!left.empty()) {
    const ssize_t count = ::write(file_, left.data(), left.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path_, "write");
    left.remove_prefix(static_cast<std::size_t>(count));
  }
  whole_ += line.size();
  torn_ = false;
}

void RowLog::reorder(std::span<const std::size_t> rows) {
  const MappedFile file(path_);
  const std::string_view text = text_of(file);
  const std::vector<std::string_view> lines = lines_of(text.substr(0, whole_));
  std::string ordered;
  ordered.reserve(whole_);
  for (const std::size_t row : rows) ordered += lines.at(row);
  if (ordered != text) write_file_atomically(path_, ordered);
}

}  // namespace fathom
