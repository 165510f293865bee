#include "kernels/packed_matrix.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "formats/dequantize.h"

namespace fathom {
namespace {

// A packed weight as the tables of docs/kernels.md place it, taken apart.
struct Parts {
  float scale = 1;
  int q = 0;
  float minimum = 0;

  [[nodiscard]] float value() const { return scale * static_cast<float>(q) + minimum; }
};

std::size_t scales_at(PackedForm form) {
  switch (form) {
    case PackedForm::int4:
    case PackedForm::int4_min:
      return 256;
    case PackedForm::int5:
    case PackedForm::int5_min:
      return 320;
    case PackedForm::int6:
      return 384;
    default:
      return 512;
  }
}

Parts integer_parts(PackedForm form, const std::byte* block, std::size_t lane, std::size_t i) {
  const auto byte = [&](std::size_t at) { return std::to_integer<unsigned>(block[at]); };
  const auto half = [&](std::size_t at) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, block + at, sizeof(bits));
    return float_from_half(bits);
  };
  unsigned u = 0;
  if (form == PackedForm::int8) {
    u = byte(64 * (i / 4) + 4 * lane + i % 4);
  } else {
    const std::size_t low = i % 16;
    const unsigned both = byte(64 * (low / 4) + 4 * lane + low % 4);
    u = i < 16 ? both & 15U : both >> 4;
  }
  if (form == PackedForm::int5 || form == PackedForm::int5_min) {
    std::uint64_t word = 0;
    std::memcpy(&word, block + 256 + 8 * (i / 4), sizeof(word));
    u |= static_cast<unsigned>((word >> (4 * lane + i % 4)) & 1U) << 4;
  }
  if (form == PackedForm::int6) {
    const std::size_t j = i % 16 / 4;
    u |= ((byte(256 + 64 * (i / 16) + 4 * lane + i % 4) >> (2 * j)) & 3U) << 4;
  }
  const std::size_t scales = scales_at(form);
  Parts parts;
  parts.scale = half(scales + 2 * lane + (form == PackedForm::int6 && i >= 16 ? 32 : 0));
  parts.q = static_cast<int>(u) - stored_offset(form);
  if (form == PackedForm::int4_min || form == PackedForm::int5_min) {
    parts.minimum = half(scales + 32 + 2 * lane);
  }
  return parts;
}

Parts parts_at(const PackedMatrix& matrix, std::size_t row, std::size_t column) {
  const std::byte* const panel = matrix.panel(row / panel_rows);
  const std::size_t lane = row % panel_rows;
  const std::size_t step = panel_step_bytes(matrix.form());
  if (is_integer(matrix.form())) {
    return integer_parts(matrix.form(), panel + column / block_inputs * step, lane,
                         column % block_inputs);
  }
  Parts parts{.scale = 1, .q = 0, .minimum = 0};
  if (matrix.form() == PackedForm::float32) {
    std::memcpy(&parts.minimum, panel + column * step + 4 * lane, 4);
    return parts;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, panel + column * step + 2 * lane, 2);
  if (matrix.form() == PackedForm::half) {
    parts.minimum = float_from_half(bits);
  } else {
    const std::uint32_t widened = std::uint32_t{bits} << 16;
    std::memcpy(&parts.minimum, &widened, 4);
  }
  return parts;
}

// Any bytes are a tensor of a quantised type, but for scales that are no numbers.
std::vector<std::byte> random_bytes(TensorType type, std::size_t count) {
  std::mt19937 random(7);
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  const auto put_half = [&](std::size_t at) {
    const std::uint16_t bits =
        half_from_float(0.001F + static_cast<float>(random() % 1000) / 20000.0F);
    std::memcpy(&bytes[at], &bits, 2);
  };
  const std::size_t block = info(type).block_bytes;
  for (std::size_t at = 0; at < count; at += block) {
    switch (type) {
      case TensorType::F32:
      case TensorType::BF16:
        bytes[at + block - 1] = std::byte{0x3c};  // an exponent that is small
        break;
      case TensorType::F16:
        put_half(at);
        break;
      case TensorType::Q6_K:
        put_half(at + 208);
        break;
      case TensorType::Q4_1:
      case TensorType::Q5_1:
      case TensorType::Q4_K:
      case TensorType::Q5_K:
        put_half(at + 2);
        put_half(at);
        break;
      default:
        put_half(at);
    }
  }
  return bytes;
}

class RepackingTest : public testing::TestWithParam<TensorType> {};

INSTANTIATE_TEST_SUITE_P(All, RepackingTest,
                         testing::Values(TensorType::F32, TensorType::F16, TensorType::BF16,
                                         TensorType::Q4_0, TensorType::Q4_1, TensorType::Q5_0,
                                         TensorType::Q5_1, TensorType::Q8_0, TensorType::Q4_K,
                                         TensorType::Q5_K, TensorType::Q6_K),
                         [](const auto& instance) {
                           return std::string(fathom::info(instance.param).name);
                         });

bool is_k_type(TensorType type) {
  return type == TensorType::Q4_K || type == TensorType::Q5_K || type == TensorType::Q6_K;
}

TEST_P(RepackingTest, GivesTheStoredWeights) {
  const TensorType type = GetParam();
  constexpr std::size_t rows = 21;  // a panel and a part of one
  constexpr std::size_t columns = 512;
  TensorView tensor{.name = "w", .type = type, .shape = {rows, columns}, .bytes = {}};
  const std::vector<std::byte> bytes = random_bytes(type, tensor_bytes(type, tensor.shape));
  tensor.bytes = bytes;
  std::vector<float> stored(rows * columns);
  dequantize(type, bytes, stored);
  Arena arena;
  ThreadTeam team(2);
  const PackedMatrix packed(tensor, native_form(type), {}, arena, team);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      const Parts parts = parts_at(packed, r, c);
      const float expected = stored[r * columns + c];
      if (!is_k_type(type)) {
        ASSERT_EQ(parts.value(), expected) << "row " << r << " column " << c;
        continue;
      }
      // A scale and a minimum of at most half a unit in the last of float16's 11 bits off.
      const double quants = std::abs(static_cast<double>(parts.scale) * parts.q);
      const double tolerance = (quants + std::abs(parts.minimum)) * 0x1p-11 * 1.001 + 1e-7;
      ASSERT_NEAR(parts.value(), expected, tolerance) << "row " << r << " column " << c;
    }
  }
}

TEST_P(RepackingTest, EmptyLanesAreZero) {
  const TensorType type = GetParam();
  constexpr std::size_t rows = 17;
  constexpr std::size_t columns = 256;
  TensorView tensor{.name = "w", .type = type, .shape = {rows, columns}, .bytes = {}};
  const std::vector<std::byte> bytes = random_bytes(type, tensor_bytes(type, tensor.shape));
  tensor.bytes = bytes;
  Arena arena;
  ThreadTeam team(1);
  const PackedMatrix packed(tensor, native_form(type), {}, arena, team);
  for (std::size_t lane = rows; lane < 2 * panel_rows; ++lane) {
    for (std::size_t c = 0; c < columns; ++c) {
      ASSERT_EQ(parts_at(packed, lane, c).value(), 0) << "lane " << lane << " column " << c;
    }
  }
}

TEST(PackedMatrix, OtherFormsAreRefused) {
  TensorView tensor{.name = "w", .type = TensorType::Q8_0, .shape = {16, 32}, .bytes = {}};
  const std::vector<std::byte> bytes(tensor_bytes(tensor.type, tensor.shape));
  tensor.bytes = bytes;
  Arena arena;
  ThreadTeam team(1);
  EXPECT_THROW(PackedMatrix(tensor, PackedForm::int4, {}, arena, team), std::logic_error);
}

}  // namespace
}  // namespace fathom
