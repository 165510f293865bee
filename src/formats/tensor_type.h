#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fathom {

/// How the elements of a tensor are stored. Rows of a block type are made of whole blocks.
/// The block types' layouts are those of GGUF (see docs/formats.md).
enum class TensorType : std::uint8_t {
  F32,
  F16,
  BF16,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q4_K,
  Q5_K,
  Q6_K,
};

struct TensorTypeInfo {
  std::string_view name;
  std::size_t block_elements;  ///< elements in one block; 1 for the float types
  std::size_t block_bytes;     ///< bytes of one block
  std::uint32_t ggml_id;       ///< the number that GGUF files have for it
};

/// Name and sizes of a type.
const TensorTypeInfo& info(TensorType type);

/// The type that GGUF files number so, if it is one of these.
std::optional<TensorType> tensor_type_of_ggml(std::uint32_t id);

}  // namespace fathom
