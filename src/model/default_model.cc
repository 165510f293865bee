#include "model/default_model.h"

#include <cstdlib>
#include <string>

namespace fathom {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::filesystem::path default_model_path() {
  if (const std::string path = environment("FATHOM_MODEL"); !path.empty()) return path;
  const std::string cache = environment("XDG_CACHE_HOME");
  const std::filesystem::path folder = cache.empty()
                                           ? std::filesystem::path(environment("HOME")) / ".cache"
                                           : std::filesystem::path(cache);
  return folder / "fathom" / "SmolLM2-135M-Instruct.Q4_1.gguf";
}

}  // namespace fathom
