#include "formats/tensor_type.h"

#include <array>

namespace fathom {
namespace {

constexpr std::array<TensorTypeInfo, 11> infos{{
    {"F32", 1, 4, 0},
    {"F16", 1, 2, 1},
    {"BF16", 1, 2, 30},
    {"Q4_0", 32, 18, 2},
    {"Q4_1", 32, 20, 3},
    {"Q5_0", 32, 22, 6},
    {"Q5_1", 32, 24, 7},
    {"Q8_0", 32, 34, 8},
    {"Q4_K", 256, 144, 12},
    {"Q5_K", 256, 176, 13},
    {"Q6_K", 256, 210, 14},
}};

}  // namespace

const TensorTypeInfo& info(TensorType type) { return infos[static_cast<std::size_t>(type)]; }

std::optional<TensorType> tensor_type_of_ggml(std::uint32_t id) {
  for (std::size_t i = 0; i < infos.size(); ++i) {
    if (infos[i].ggml_id == id) return static_cast<TensorType>(i);
  }
  return std::nullopt;
}

}  // namespace fathom
