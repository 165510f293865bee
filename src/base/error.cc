#include "base/error.h"

#include <fmt/format.h>

namespace fathom {
namespace {

std::string file_message(std::string_view file, std::string_view place, std::string_view problem) {
  return place.empty() ? fmt::format("{}: {}", file, problem)
                       : fmt::format("{}: {}: {}", file, place, problem);
}

}  // namespace

FileError::FileError(std::string_view file, std::string_view place, std::string_view problem)
    : InputError(file_message(file, place, problem)) {}

}  // namespace fathom
