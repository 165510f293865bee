#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "formats/tensor_source.h"
#include "formats/tensor_type.h"

namespace fathom {

/// Whether quantize() can make the type: F32, F16, BF16, Q8_0, Q4_0 and Q4_1.
bool can_quantize_to(TensorType type);

/// The type that people call so, in small letters ("q8_0"), if quantize() can make it.
std::optional<TensorType> quantizable_type_named(std::string_view name);

/// Stores float32 elements as `type`, in the bytes of ggml's reference quantizers
/// (`quantize_row_*_ref`) and of the gguf package's `gguf.quants`; F16 and BF16 are rounded to
/// nearest, ties to even. `elements` are whole blocks and `out` what they take. Where ggml leaves
/// the result undefined, since the inverse of a block's scale overflows (all its weights are below
/// 1e-36), the quants are those of zeros. Throws InputError if a finite element or a block's scale
/// overflows float16, or if an element of a block type is not finite.
void quantize(TensorType type, std::span<const float> elements, std::span<std::byte> out);

/// Converts rows from one type to another by way of float32; the same bytes where it is the same
/// type. Holds the row at hand: one object for each thread.
class RowConverter {
 public:
  /// Rows of `columns` elements, whole blocks of both types. quantize() can make `to`, or it is
  /// `from`.
  RowConverter(TensorType from, TensorType to, std::size_t columns);

  [[nodiscard]] std::size_t from_bytes() const { return from_bytes_; }
  [[nodiscard]] std::size_t to_bytes() const { return to_bytes_; }
  /// Throws InputError as quantize() does.
  void convert(std::span<const std::byte> row, std::span<std::byte> out);

 private:
  TensorType from_;
  TensorType to_;
  std::size_t from_bytes_;
  std::size_t to_bytes_;
  std::vector<float> widened_;  // empty where rows are copied
};

/// Widens row `row` of a matrix to float32, by way of the type it is converted to, if it is. `out`
/// has one place for each column. Throws InputError as quantize() does.
void read_row(const TensorView& matrix, std::size_t row, std::span<float> out);

/// Bytes of a row of `columns` elements, which are whole blocks.
std::size_t row_bytes(TensorType type, std::size_t columns);

std::uint16_t bfloat16_from_float(float value);

}  // namespace fathom
