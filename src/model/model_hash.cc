#include "model/model_hash.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/sha256.h"

namespace fathom {
namespace {

// What a model's folder may be made of; READMEs and pictures beside it do not matter.
constexpr std::array<std::string_view, 5> suffixes{".json", ".safetensors", ".bin", ".txt",
                                                   ".model"};

}  // namespace

std::string model_sha256(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return sha256_of_file(path);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const std::string suffix = entry.path().extension().string();
    if (entry.is_regular_file() &&
        std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end()) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  std::string list;
  for (const std::string& name : names) {
    list += fmt::format("{}  {}\n", sha256_of_file(path / name), name);
  }
  return sha256(list);
}

}  // namespace fathom
