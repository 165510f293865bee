#include "model/weight_types.h"

#include "model/gguf_names.h"

namespace fathom {

TensorUse tensor_use(std::string_view gguf_name, std::size_t dimensions, bool tied) {
  constexpr std::string_view weight = ".weight";
  if (dimensions < 2 || !gguf_name.ends_with(weight)) return TensorUse::precise;
  const std::string_view stem = gguf_name.substr(0, gguf_name.size() - weight.size());
  if (stem.ends_with("_norm") || stem == "position_embd") return TensorUse::precise;
  const bool is_head = stem == (tied ? gguf_tensor_names.embedding : gguf_tensor_names.head);
  return is_head ? TensorUse::head : TensorUse::matrix;
}

TensorType weight_type(TensorType wanted, TensorUse use, std::span<const std::size_t> shape) {
  if (use == TensorUse::precise) return TensorType::F32;
  if (shape.back() % info(wanted).block_elements != 0) return TensorType::F16;
  const bool four_bits = wanted == TensorType::Q4_0 || wanted == TensorType::Q4_1;
  return use == TensorUse::head && four_bits ? TensorType::Q8_0 : wanted;
}

}  // namespace fathom
