#include "formats/dequantize.h"

#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "the formats are little-endian");

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

unsigned byte_at(const std::byte* from, std::size_t i) {
  return std::to_integer<unsigned>(from[i]);
}

float half_at(const std::byte* from) { return float_from_half(load<std::uint16_t>(from)); }

constexpr std::size_t block = 32;
constexpr std::size_t super_block = 256;

// Of a block of 32, byte i of 16 holds element i in its low and element i + 16 in its high nibble.
struct Nibbles {
  unsigned low;
  unsigned high;
};

Nibbles nibbles_at(const std::byte* from, std::size_t i) {
  const unsigned byte = byte_at(from, i);
  return {byte & 15U, byte >> 4U};
}

// The fifth bits of a block of 32, element i's at bit i.
Nibbles with_fifth_bits(Nibbles nibbles, std::uint32_t fifth_bits, std::size_t i) {
  return {nibbles.low | ((fifth_bits >> i) & 1U) << 4U,
          nibbles.high | ((fifth_bits >> (i + 16)) & 1U) << 4U};
}

float centred(unsigned quant, int zero) {
  return static_cast<float>(static_cast<int>(quant) - zero);
}

void dequantize_q4_0(const std::byte* from, float* out) {
  const float scale = half_at(from);
  for (std::size_t i = 0; i < 16; ++i) {
    const Nibbles q = nibbles_at(from + 2, i);
    out[i] = scale * centred(q.low, 8);
    out[i + 16] = scale * centred(q.high, 8);
  }
}

void dequantize_q4_1(const std::byte* from, float* out) {
  const float scale = half_at(from);
  const float minimum = half_at(from + 2);
  for (std::size_t i = 0; i < 16; ++i) {
    const Nibbles q = nibbles_at(from + 4, i);
    out[i] = scale * static_cast<float>(q.low) + minimum;
    out[i + 16] = scale * static_cast<float>(q.high) + minimum;
  }
}

void dequantize_q5_0(const std::byte* from, float* out) {
  const float scale = half_at(from);
  const auto fifth_bits = load<std::uint32_t>(from + 2);
  for (std::size_t i = 0; i < 16; ++i) {
    const Nibbles q = with_fifth_bits(nibbles_at(from + 6, i), fifth_bits, i);
    out[i] = scale * centred(q.low, 16);
    out[i + 16] = scale * centred(q.high, 16);
  }
}

void dequantize_q5_1(const std::byte* from, float* out) {
  const float scale = half_at(from);
  const float minimum = half_at(from + 2);
  const auto fifth_bits = load<std::uint32_t>(from + 4);
  for (std::size_t i = 0; i < 16; ++i) {
    const Nibbles q = with_fifth_bits(nibbles_at(from + 8, i), fifth_bits, i);
    out[i] = scale * static_cast<float>(q.low) + minimum;
    out[i + 16] = scale * static_cast<float>(q.high) + minimum;
  }
}

void dequantize_q8_0(const std::byte* from, float* out) {
  const float scale = half_at(from);
  for (std::size_t i = 0; i < block; ++i) {
    out[i] = scale * static_cast<float>(load<std::int8_t>(from + 2 + i));
  }
}

// Of Q4_K and Q5_K: the scale and minimum of each of the 8 sub-blocks of 32.
struct SubBlocks {
  std::array<float, 8> scale;
  std::array<float, 8> minimum;
};

// The first 16 bytes of a super-block: both factors in half precision, then 12 bytes with 8 scales
// and 8 minimums of 6 bits. Bytes 0-3 and 4-7 hold the first four of each in their low 6 bits; the
// last four have their low 4 bits in the nibbles of bytes 8-11, their high 2 on top of bytes 0-7.
SubBlocks sub_blocks_at(const std::byte* from) {
  const float scale_factor = half_at(from);
  const float minimum_factor = half_at(from + 2);
  const std::byte* const packed = from + 4;
  SubBlocks result;
  for (std::size_t i = 0; i < 4; ++i) {
    const unsigned scales = byte_at(packed, i);
    const unsigned minimums = byte_at(packed, i + 4);
    const Nibbles low_bits = nibbles_at(packed + 8, i);
    result.scale[i] = scale_factor * static_cast<float>(scales & 63U);
    result.minimum[i] = minimum_factor * static_cast<float>(minimums & 63U);
    result.scale[i + 4] = scale_factor * static_cast<float>(low_bits.low | scales >> 6U << 4U);
    result.minimum[i + 4] =
        minimum_factor * static_cast<float>(low_bits.high | minimums >> 6U << 4U);
  }
  return result;
}

void dequantize_q4_k(const std::byte* from, float* out) {
  const SubBlocks subs = sub_blocks_at(from);
  for (std::size_t pair = 0; pair < 4; ++pair) {
    const std::size_t low = 2 * pair;
    const std::size_t high = low + 1;
    for (std::size_t i = 0; i < block; ++i) {
      const Nibbles q = nibbles_at(from + 16, block * pair + i);
      out[block * low + i] = subs.scale[low] * static_cast<float>(q.low) - subs.minimum[low];
      out[block * high + i] = subs.scale[high] * static_cast<float>(q.high) - subs.minimum[high];
    }
  }
}

void dequantize_q5_k(const std::byte* from, float* out) {
  const SubBlocks subs = sub_blocks_at(from);
  for (std::size_t pair = 0; pair < 4; ++pair) {
    const std::size_t low = 2 * pair;
    const std::size_t high = low + 1;
    for (std::size_t i = 0; i < block; ++i) {
      // Bit s of byte i is the fifth bit of element i of sub-block s.
      const unsigned fifth_bits = byte_at(from + 16, i);
      const Nibbles q = nibbles_at(from + 48, block * pair + i);
      const unsigned low_quant = q.low | ((fifth_bits >> low) & 1U) << 4U;
      const unsigned high_quant = q.high | ((fifth_bits >> high) & 1U) << 4U;
      out[block * low + i] = subs.scale[low] * static_cast<float>(low_quant) - subs.minimum[low];
      out[block * high + i] =
          subs.scale[high] * static_cast<float>(high_quant) - subs.minimum[high];
    }
  }
}

void dequantize_q6_k(const std::byte* from, float* out) {
  const float factor = half_at(from + 208);
  for (std::size_t half = 0; half < 2; ++half) {
    const std::byte* const low_bits = from + 64 * half;
    const std::byte* const high_bits = from + 128 + 32 * half;
    const std::byte* const scales = from + 192 + 8 * half;
    // A half of 128 elements is four runs of 32; a scale serves 16 elements.
    for (std::size_t run = 0; run < 4; ++run) {
      for (std::size_t i = 0; i < block; ++i) {
        const unsigned nibble = byte_at(low_bits, block * (run % 2) + i) >> (run / 2 * 4) & 15U;
        const unsigned top = byte_at(high_bits, i) >> (2 * run) & 3U;
        const float scale =
            factor * static_cast<float>(load<std::int8_t>(scales + 2 * run + i / 16));
        out[128 * half + block * run + i] = scale * centred(nibble | top << 4U, 32);
      }
    }
  }
}

template <std::size_t elements, std::size_t bytes_per_block, class Decode>
void for_each_block(std::span<const std::byte> bytes, std::span<float> out, Decode decode) {
  const std::size_t blocks = out.size() / elements;
  for (std::size_t b = 0; b < blocks; ++b) {
    decode(bytes.data() + b * bytes_per_block, out.data() + b * elements);
  }
}

}  // namespace

float float_from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
  const std::uint32_t exponent = bits >> 10U & 31U;
  const std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide_exponent << 23U | mantissa << 13U);
}

float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

std::uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16U & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    const std::uint32_t payload = magnitude >> 13U & 0x3ffU;
    half = 0x7c00U | (payload != 0 ? payload : 0x200U);
  } else if (magnitude >= std::bit_cast<std::uint32_t>(65520.0F)) {
    half = 0x7c00U;
  } else if (magnitude < std::bit_cast<std::uint32_t>(0x1p-14F)) {
    // Floats in [0.5, 1) are 2^-24 apart, as half's subnormals are: the sum rounds for us.
    const float sum = std::bit_cast<float>(magnitude) + 0.5F;
    half = std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5F);
  } else {
    const std::uint32_t rebiased = magnitude - (112U << 23U);
    half = (rebiased + 0xfffU + (rebiased >> 13U & 1U)) >> 13U;
  }
  return static_cast<std::uint16_t>(sign | half);
}

void dequantize(TensorType type, std::span<const std::byte> bytes, std::span<float> out) {
  const TensorTypeInfo& type_info = info(type);
  if (out.size() % type_info.block_elements != 0 ||
      out.size() / type_info.block_elements * type_info.block_bytes != bytes.size()) {
    throw std::invalid_argument(fmt::format("dequantize: {} bytes of {} do not hold {} elements",
                                            bytes.size(), type_info.name, out.size()));
  }
  if (out.empty()) return;
  switch (type) {
    case TensorType::F32:
      std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case TensorType::F16:
      return for_each_block<1, 2>(bytes, out,
                                  [](const std::byte* from, float* to) { *to = half_at(from); });
    case TensorType::BF16:
      return for_each_block<1, 2>(bytes, out, [](const std::byte* from, float* to) {
        *to = float_from_bfloat16(load<std::uint16_t>(from));
      });
    case TensorType::Q4_0:
      return for_each_block<block, 18>(bytes, out, dequantize_q4_0);
    case TensorType::Q4_1:
      return for_each_block<block, 20>(bytes, out, dequantize_q4_1);
    case TensorType::Q5_0:
      return for_each_block<block, 22>(bytes, out, dequantize_q5_0);
    case TensorType::Q5_1:
      return for_each_block<block, 24>(bytes, out, dequantize_q5_1);
    case TensorType::Q8_0:
      return for_each_block<block, 34>(bytes, out, dequantize_q8_0);
    case TensorType::Q4_K:
      return for_each_block<super_block, 144>(bytes, out, dequantize_q4_k);
    case TensorType::Q5_K:
      return for_each_block<super_block, 176>(bytes, out, dequantize_q5_k);
    case TensorType::Q6_K:
      return for_each_block<super_block, 210>(bytes, out, dequantize_q6_k);
  }
  throw std::invalid_argument("dequantize: no such tensor type");
}

}  // namespace fathom
