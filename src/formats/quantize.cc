#include "formats/quantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/dequantize.h"

namespace fathom {
namespace {

constexpr std::size_t block = 32;

void store(std::byte* to, std::uint16_t bits) { std::memcpy(to, &bits, sizeof bits); }

// float16 that must not turn a number into an infinity.
std::uint16_t checked_half(float value) {
  const std::uint16_t bits = half_from_float(value);
  if ((bits & 0x7fffU) == 0x7c00U && std::isfinite(value)) {
    throw InputError(fmt::format("{} found, which is too large for float16", value));
  }
  return bits;
}

void require_finite(const float* elements) {
  for (std::size_t i = 0; i < block; ++i) {
    if (!std::isfinite(elements[i])) {
      throw InputError(fmt::format("{} found, a finite number expected", elements[i]));
    }
  }
}

// What elements are multiplied with to become quants. No number where the scale is too small.
float inverse(float scale) {
  const float result = scale == 0 ? 0.0F : 1.0F / scale;
  return std::isfinite(result) ? result : 0.0F;
}

// Quants of a block, element i's in the low and element i + 16's in the high nibble of byte i.
void store_nibbles(std::byte* to, const std::array<std::uint8_t, block>& quants) {
  for (std::size_t i = 0; i < block / 2; ++i) {
    to[i] = static_cast<std::byte>(quants[i] | quants[i + block / 2] << 4U);
  }
}

// Truncated, as the reference does; what is added before makes it rounding.
std::uint8_t nibble(float value) {
  return static_cast<std::uint8_t>(std::min(15, static_cast<int>(value)));
}

void quantize_q4_0(const float* elements, std::byte* out) {
  float largest = 0;  // with its sign
  for (std::size_t i = 0; i < block; ++i) {
    if (std::abs(elements[i]) > std::abs(largest)) largest = elements[i];
  }
  const float scale = largest / -8;
  const float factor = inverse(scale);
  std::array<std::uint8_t, block> quants{};
  for (std::size_t i = 0; i < block; ++i) quants[i] = nibble(elements[i] * factor + 8.5F);
  store(out, checked_half(scale));
  store_nibbles(out + 2, quants);
}

void quantize_q4_1(const float* elements, std::byte* out) {
  const auto [least, most] = std::minmax_element(elements, elements + block);
  const float minimum = *least;
  const float scale = (*most - minimum) / 15;
  if (!std::isfinite(scale)) throw InputError("weights that differ by too much for float32");
  const float factor = inverse(scale);
  std::array<std::uint8_t, block> quants{};
  for (std::size_t i = 0; i < block; ++i) {
    quants[i] = nibble((elements[i] - minimum) * factor + 0.5F);
  }
  store(out, checked_half(scale));
  store(out + 2, checked_half(minimum));
  store_nibbles(out + 4, quants);
}

void quantize_q8_0(const float* elements, std::byte* out) {
  float largest = 0;
  for (std::size_t i = 0; i < block; ++i) largest = std::max(largest, std::abs(elements[i]));
  const float scale = largest / 127;
  const float factor = inverse(scale);
  store(out, checked_half(scale));
  for (std::size_t i = 0; i < block; ++i) {
    // Halves away from zero.
    out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(elements[i] * factor)));
  }
}

template <class Encode>
void for_each_block(TensorType type, std::span<const float> elements, std::span<std::byte> out,
                    Encode encode) {
  const std::size_t bytes = info(type).block_bytes;
  for (std::size_t b = 0; b < elements.size() / block; ++b) {
    require_finite(elements.data() + b * block);
    encode(elements.data() + b * block, out.data() + b * bytes);
  }
}

}  // namespace

bool can_quantize_to(TensorType type) {
  switch (type) {
    case TensorType::F32:
    case TensorType::F16:
    case TensorType::BF16:
    case TensorType::Q4_0:
    case TensorType::Q4_1:
    case TensorType::Q8_0:
      return true;
    case TensorType::Q5_0:
    case TensorType::Q5_1:
    case TensorType::Q4_K:
    case TensorType::Q5_K:
    case TensorType::Q6_K:
      return false;
  }
  return false;
}

std::optional<TensorType> quantizable_type_named(std::string_view name) {
  for (const TensorType type : {TensorType::F32, TensorType::F16, TensorType::BF16,
                                TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1}) {
    const std::string_view known = info(type).name;
    const auto equal = [](char small, char large) {
      return small == (large >= 'A' && large <= 'Z' ? large - 'A' + 'a' : large);
    };
    if (std::ranges::equal(name, known, equal)) return type;
  }
  return std::nullopt;
}

std::uint16_t bfloat16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // A NaN stays one, and quiet, when its low half goes.
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16U | 64U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16U & 1U)) >> 16U);
}

void quantize(TensorType type, std::span<const float> elements, std::span<std::byte> out) {
  const TensorTypeInfo& type_info = info(type);
  if (elements.size() % type_info.block_elements != 0 ||
      elements.size() / type_info.block_elements * type_info.block_bytes != out.size()) {
    throw std::invalid_argument(fmt::format("quantize: {} elements do not take {} bytes of {}",
                                            elements.size(), out.size(), type_info.name));
  }
  if (elements.empty()) return;
  switch (type) {
    case TensorType::F32:
      std::memcpy(out.data(), elements.data(), out.size());
      return;
    case TensorType::F16:
      for (std::size_t i = 0; i < elements.size(); ++i) {
        store(out.data() + 2 * i, checked_half(elements[i]));
      }
      return;
    case TensorType::BF16:
      for (std::size_t i = 0; i < elements.size(); ++i) {
        store(out.data() + 2 * i, bfloat16_from_float(elements[i]));
      }
      return;
    case TensorType::Q4_0:
      return for_each_block(type, elements, out, quantize_q4_0);
    case TensorType::Q4_1:
      return for_each_block(type, elements, out, quantize_q4_1);
    case TensorType::Q8_0:
      return for_each_block(type, elements, out, quantize_q8_0);
    case TensorType::Q5_0:
    case TensorType::Q5_1:
    case TensorType::Q4_K:
    case TensorType::Q5_K:
    case TensorType::Q6_K:
      break;
  }
  throw std::invalid_argument(fmt::format("quantize: {} cannot be made", type_info.name));
}

std::size_t row_bytes(TensorType type, std::size_t columns) {
  return columns / info(type).block_elements * info(type).block_bytes;
}

RowConverter::RowConverter(TensorType from, TensorType to, std::size_t columns)
    : from_(from),
      to_(to),
      from_bytes_(row_bytes(from, columns)),
      to_bytes_(row_bytes(to, columns)),
      widened_(from == to ? 0 : columns) {}

void RowConverter::convert(std::span<const std::byte> row, std::span<std::byte> out) {
  if (from_ == to_) {
    std::copy(row.begin(), row.end(), out.begin());
    return;
  }
  dequantize(from_, row, widened_);
  quantize(to_, widened_, out);
}

void read_row(const TensorView& matrix, std::size_t row, std::span<float> out) {
  const std::size_t size = row_bytes(matrix.type, out.size());
  const std::span<const std::byte> stored = matrix.bytes.subspan(row * size, size);
  if (!matrix.converted) return dequantize(matrix.type, stored, out);
  RowConverter converter(matrix.type, *matrix.converted, out.size());
  std::vector<std::byte> converted(converter.to_bytes());
  converter.convert(stored, converted);
  dequantize(*matrix.converted, converted, out);
}

}  // namespace fathom
