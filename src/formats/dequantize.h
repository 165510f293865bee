#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/tensor_type.h"

namespace fathom {

/// Widens stored elements to float32, as the formats define them: the reference that packed
/// kernels are held to. `bytes` holds whole blocks; `out` has one place per element.
void dequantize(TensorType type, std::span<const std::byte> bytes, std::span<float> out);

/// IEEE half and bfloat16 to float32, exact.
float float_from_half(std::uint16_t bits);
float float_from_bfloat16(std::uint16_t bits);
/// float32 to IEEE half, to nearest, ties to even.
std::uint16_t half_from_float(float value);

}  // namespace fathom
