#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fathom {

/// How a packed matrix stores its weights (docs/kernels.md). A panel is 16 output rows side by
/// side. The integer forms hold blocks of 32 inputs: the quantised weights, then 16 scales, then,
/// where the form has them, 16 minimums, in float16: w = scale * q + minimum.
enum class PackedForm : std::uint8_t {
  int4,      ///< q in -8..7
  int4_min,  ///< q in 0..15, with minimum
  int5,      ///< q in -16..15
  int5_min,  ///< q in 0..31, with minimum
  int6,      ///< q in -32..31, a scale for each 16 inputs
  int8,      ///< q in -128..127
  half,      ///< float16, one input of 16 rows after another
  bfloat16,
  float32,
};
inline constexpr std::size_t packed_form_count = 9;

inline constexpr std::size_t panel_rows = 16;
inline constexpr std::size_t block_inputs = 32;

std::string_view name(PackedForm form);

constexpr bool is_integer(PackedForm form) { return form <= PackedForm::int8; }

/// Bytes of a panel for one block of 32 inputs (integer forms) or for one input (float forms).
constexpr std::size_t panel_step_bytes(PackedForm form) {
  switch (form) {
    case PackedForm::int4:
      return 256 + 32;
    case PackedForm::int4_min:
      return 256 + 64;
    case PackedForm::int5:
      return 320 + 32;
    case PackedForm::int5_min:
      return 320 + 64;
    case PackedForm::int6:
      return 384 + 64;
    case PackedForm::int8:
      return 512 + 32;
    case PackedForm::half:
    case PackedForm::bfloat16:
      return 32;
    case PackedForm::float32:
      return 64;
  }
  return 0;
}

/// What is added to the q of a form so that it is stored unsigned.
constexpr int stored_offset(PackedForm form) {
  switch (form) {
    case PackedForm::int4:
      return 8;
    case PackedForm::int5:
      return 16;
    case PackedForm::int6:
      return 32;
    case PackedForm::int8:
      return 128;
    default:
      return 0;
  }
}

}  // namespace fathom
