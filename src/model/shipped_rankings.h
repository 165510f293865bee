#pragma once

#include <array>
#include <string_view>

// The files of models/, which the build puts into the program (cmake/EmbedFiles.cmake).
namespace fathom::embedded {

extern const std::string_view smollm2_135m_instruct_q4_1_json;

}  // namespace fathom::embedded

namespace fathom {

/// A file's name and its text.
struct ShippedRanking {
  std::string_view name, text;
};

/// All rankings that are shipped.
inline std::array<ShippedRanking, 1> shipped_rankings() {
  return {{{"models/smollm2-135m-instruct-q4_1.json", embedded::smollm2_135m_instruct_q4_1_json}}};
}

}  // namespace fathom
