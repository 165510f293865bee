#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "formats/tensor_type.h"

namespace fathom {

/// What a tensor is for, as far as the type it is stored in depends on that.
enum class TensorUse {
  matrix,   ///< of a product, or an embedding of tokens
  head,     ///< the output head, or the embedding that is one
  precise,  ///< norms, biases, positions: float32 always
};

/// By a tensor's name in GGUF files. `tied`: the embedding is the output head.
TensorUse tensor_use(std::string_view gguf_name, std::size_t dimensions, bool tied);

/// The type in which a model converted to `wanted` holds a tensor of that use and shape, as
/// llama.cpp has it: rows that are no whole blocks stay in F16, and the head of a model in 4 bits
/// is Q8_0 (llama.cpp takes Q6_K instead where the width is a multiple of 256).
TensorType weight_type(TensorType wanted, TensorUse use, std::span<const std::size_t> shape);

}  // namespace fathom
