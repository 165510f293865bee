// Gives files to a target without libFuzzer: as a test, and to see what one input does.
//
//   NAME_replay SEEDS FOUND    every file in SEEDS must be taken, every one in FOUND taken or
//   refused NAME_replay FILE           says what becomes of it
//
// Prints each file before it is tried, so that the last line names the one that crashed. Exit 1 if
// a file did not do what it must.

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "fuzz/target.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

enum class Expected { taken, taken_or_refused };

std::vector<fs::path> files_in(const fs::path& folder) {
  if (!fs::exists(folder)) return {};  // nothing was found yet
  std::vector<fs::path> files{fs::directory_iterator(folder), fs::directory_iterator()};
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::byte> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::byte> bytes(fs::file_size(path));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) throw InputError(path.string() + ": cannot be read");
  return bytes;
}

bool replay(const fs::path& path, Expected expected) {
  fmt::print("{}\n", path.string());
  std::fflush(stdout);
  try {
    const Refusals refusals = run_target(read_file(path));
    for (const std::string& refusal : refusals) fmt::print("    refused: {}\n", refusal);
    if (refusals.empty()) fmt::print("    taken\n");
    return expected == Expected::taken_or_refused || refusals.empty();
  } catch (const std::exception& error) {
    fmt::print("    FAILED: {}\n", error.what());
    return false;
  }
}

int run(const fs::path& seeds, const fs::path& found) {
  const std::vector<fs::path> seed_files = files_in(seeds);
  if (seed_files.empty()) throw InputError(seeds.string() + ": no seeds");
  bool passed = true;
  for (const fs::path& path : seed_files) passed = replay(path, Expected::taken) && passed;
  for (const fs::path& path : files_in(found)) {
    passed = replay(path, Expected::taken_or_refused) && passed;
  }
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  try {
    if (argc == 2) return fathom::replay(argv[1], fathom::Expected::taken_or_refused) ? 0 : 1;
    if (argc == 3) return fathom::run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "replay: {}\n", error.what());
    return 1;
  }
  fmt::print(stderr, "usage: NAME_replay FILE, or NAME_replay SEEDS FOUND\n");
  return 2;
}
