#include "train/checkpoint_folder.h"

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <system_error>
#include <unistd.h>

#include "base/error.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

fs::path with_suffix(fs::path folder, const char* suffix) { return folder += suffix; }

[[noreturn]] void fail(const fs::path& path, const std::error_code& error) {
  throw FileError(path.string(), "", "cannot write: " + error.message());
}

void require(const fs::path& path, const std::error_code& error) {
  if (error) fail(path, error);
}

// What names lead to is on the disk only after this.
void sync_folder(const fs::path& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) fail(folder, {errno, std::generic_category()});
  const int error = ::fsync(file) == 0 ? 0 : errno;
  ::close(file);
  // Some network file systems cannot; they sync names by themselves.
  if (error != 0 && error != EINVAL) fail(folder, {error, std::generic_category()});
}

fs::path parent_of(const fs::path& folder) {
  return folder.has_parent_path() ? folder.parent_path() : fs::path(".");
}

}  // namespace

void replace_folder(const fs::path& folder,
                    const std::function<void(const fs::path& aside)>& write) {
  const fs::path aside = with_suffix(folder, ".new");
  const fs::path old = with_suffix(folder, ".old");
  const bool there = recover_folder(folder);
  std::error_code error;
  // What a killed run left.
  for (const fs::path& rest : {aside, old}) {
    fs::remove_all(rest, error);
    require(rest, error);
  }
  try {
    fs::create_directories(aside, error);
    require(aside, error);
    write(aside);
    sync_folder(aside);
  } catch (...) {
    fs::remove_all(aside, error);
    throw;
  }
  // Exchanging the two in one step would do, but not every file system can.
  if (there) {
    fs::rename(folder, old, error);
    require(folder, error);
  }
  fs::rename(aside, folder, error);
  if (error) {
    const std::error_code why = error;
    if (there) fs::rename(old, folder, error);
    fail(folder, why);
  }
  sync_folder(parent_of(folder));
  fs::remove_all(old, error);
  require(old, error);
}

bool recover_folder(const fs::path& folder) {
  if (fs::exists(folder)) return true;
  const fs::path old = with_suffix(folder, ".old");
  if (!fs::exists(old)) return false;
  std::error_code error;
  fs::rename(old, folder, error);
  require(folder, error);
  return true;
}

}  // namespace fathom
