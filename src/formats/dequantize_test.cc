#include "formats/dequantize.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "formats/json_file.h"

namespace fathom {
namespace {

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

class DequantizeTest : public ::testing::TestWithParam<TensorType> {};

TEST_P(DequantizeTest, EqualsTheGgufPackageBitForBit) {
  const nlohmann::json golden =
      read_json_object(FATHOM_SOURCE_DIR "/golden/dequantize.json", 1 << 20);
  const nlohmann::json& blocks = golden.at(std::string(info(GetParam()).name));
  const std::vector<std::byte> bytes = from_hex(blocks.at("bytes").get<std::string>());
  const std::vector<std::byte> expected = from_hex(blocks.at("float32").get<std::string>());

  // One byte further on, so that a read that needs alignment is seen.
  std::vector<std::byte> shifted(bytes.size() + 1);
  std::memcpy(shifted.data() + 1, bytes.data(), bytes.size());
  std::vector<float> out(expected.size() / sizeof(float));
  ASSERT_GE(out.size(), 2 * info(GetParam()).block_elements);
  dequantize(GetParam(), std::span(shifted).subspan(1), out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    float value = 0;
    std::memcpy(&value, expected.data() + i * sizeof value, sizeof value);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(value)) << i;
  }
}

TEST_P(DequantizeTest, RefusesBytesThatAreNotTheElements) {
  const TensorTypeInfo& type = info(GetParam());
  const std::vector<std::byte> bytes(2 * type.block_bytes);
  std::vector<float> out(3 * type.block_elements);
  EXPECT_THROW(dequantize(GetParam(), bytes, out), std::invalid_argument);
  EXPECT_THROW(dequantize(GetParam(), std::span(bytes).first(1), std::span(out).first(1)),
               std::invalid_argument);
  EXPECT_NO_THROW(dequantize(GetParam(), {}, {}));
}

INSTANTIATE_TEST_SUITE_P(EveryType, DequantizeTest,
                         ::testing::Values(TensorType::F32, TensorType::F16, TensorType::BF16,
                                           TensorType::Q4_0, TensorType::Q4_1, TensorType::Q5_0,
                                           TensorType::Q5_1, TensorType::Q8_0, TensorType::Q4_K,
                                           TensorType::Q5_K, TensorType::Q6_K),
                         [](const auto& instance) {
                           return std::string(fathom::info(instance.param).name);
                         });

TEST(HalfTest, EveryPatternSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float wide = float_from_half(static_cast<std::uint16_t>(bits));
    EXPECT_EQ(half_from_float(wide), bits);
  }
}

TEST(HalfTest, WidensToTheDefinedValues) {
  EXPECT_EQ(float_from_half(0x0001), 0x1p-24F);
  EXPECT_EQ(float_from_half(0x03ff), 1023 * 0x1p-24F);
  EXPECT_EQ(float_from_half(0x0400), 0x1p-14F);
  EXPECT_EQ(float_from_half(0x3c00), 1.0F);
  EXPECT_EQ(float_from_half(0xc001), -2 - 0x1p-9F);
  EXPECT_EQ(float_from_half(0x7bff), 65504.0F);
  EXPECT_EQ(float_from_half(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(float_from_half(0x7e00)));
  EXPECT_TRUE(std::signbit(float_from_half(0x8000)));
}

TEST(HalfTest, RoundsBetweenEveryTwoNeighboursToNearestEven) {
  for (std::uint16_t low = 0; low < 0x7bff; ++low) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    // Exact: a half has 11 significant bits, a float 24.
    const float middle = (float_from_half(low) + float_from_half(high)) / 2;
    const std::uint16_t even = low % 2 == 0 ? low : high;
    EXPECT_EQ(half_from_float(middle), even);
    EXPECT_EQ(half_from_float(-middle), even | 0x8000);
    EXPECT_EQ(half_from_float(std::nextafter(middle, 0.0F)), low);
    EXPECT_EQ(half_from_float(std::nextafter(middle, HUGE_VALF)), high);
  }
}

TEST(HalfTest, ExtremesBecomeInfinityZeroOrNaN) {
  EXPECT_EQ(half_from_float(65519.99F), 0x7bff);
  EXPECT_EQ(half_from_float(65520.0F), 0x7c00);
  EXPECT_EQ(half_from_float(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(half_from_float(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(half_from_float(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(half_from_float(-0x1p-26F), 0x8000);
  EXPECT_TRUE(
      std::isnan(float_from_half(half_from_float(std::numeric_limits<float>::quiet_NaN()))));
  // A NaN whose payload lies in the bits that are cut off stays one.
  EXPECT_EQ(half_from_float(std::bit_cast<float>(0x7f800001U)) & 0x7c00U, 0x7c00U);
  EXPECT_NE(half_from_float(std::bit_cast<float>(0x7f800001U)) & 0x03ffU, 0U);
}

TEST(BFloat16Test, IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(float_from_bfloat16(0x3f80), 1.0F);
  EXPECT_EQ(float_from_bfloat16(0xc040), -3.0F);
  EXPECT_TRUE(std::isinf(float_from_bfloat16(0x7f80)));
}

}  // namespace
}  // namespace fathom
