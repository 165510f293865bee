#include "formats/quantize.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/dequantize.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

using testing::HasSubstr;

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<std::byte> quantized(TensorType type, const std::vector<float>& elements) {
  std::vector<std::byte> bytes(row_bytes(type, elements.size()));
  quantize(type, elements, bytes);
  return bytes;
}

std::vector<float> values(TensorType type, const std::vector<std::byte>& bytes) {
  std::vector<float> out(bytes.size() / info(type).block_bytes * info(type).block_elements);
  dequantize(type, bytes, out);
  return out;
}

class QuantizeTest : public testing::TestWithParam<TensorType> {};

TEST_P(QuantizeTest, EqualsTheGgufPackageByteForByte) {
  const nlohmann::json golden =
      read_json_object(FATHOM_SOURCE_DIR "/golden/quantize.json", 1 << 20);
  const std::vector<std::byte> input = from_hex(golden.at("float32").get<std::string>());
  std::vector<float> elements(input.size() / sizeof(float));
  ASSERT_GE(elements.size(), 40U * 32U);
  std::memcpy(elements.data(), input.data(), input.size());
  const std::vector<std::byte> expected =
      from_hex(golden.at(std::string(info(GetParam()).name)).get<std::string>());
  const std::vector<std::byte> ours = quantized(GetParam(), elements);
  ASSERT_EQ(ours.size(), expected.size());
  const std::size_t per_block = expected.size() / (elements.size() / 32);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    ASSERT_EQ(ours[i], expected[i]) << "block " << i / per_block << ", byte " << i % per_block;
  }
}

TEST_P(QuantizeTest, KeepsWhatItMadeItself) {
  std::vector<float> elements;
  for (int i = 0; i < 96; ++i) elements.push_back(std::sin(static_cast<float>(i)) / 8);
  const std::vector<std::byte> once = quantized(GetParam(), elements);
  RowConverter same(GetParam(), GetParam(), elements.size());
  std::vector<std::byte> copy(same.to_bytes());
  same.convert(once, copy);
  EXPECT_EQ(copy, once);
  RowConverter from_float(TensorType::F32, GetParam(), elements.size());
  from_float.convert(std::as_bytes(std::span(elements)), copy);
  EXPECT_EQ(copy, once);
}

TEST_P(QuantizeTest, IsNamedInSmallLetters) {
  std::string name(info(GetParam()).name);
  for (char& c : name) c = static_cast<char>(std::tolower(c));
  EXPECT_EQ(quantizable_type_named(name), GetParam());
  EXPECT_TRUE(can_quantize_to(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(EveryType, QuantizeTest,
                         testing::Values(TensorType::F32, TensorType::F16, TensorType::BF16,
                                         TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1),
                         [](const auto& instance) {
                           return std::string(fathom::info(instance.param).name);
                         });

TEST(Quantize, MakesNoOtherTypes) {
  for (const TensorType type :
       {TensorType::Q5_0, TensorType::Q5_1, TensorType::Q4_K, TensorType::Q5_K, TensorType::Q6_K}) {
    EXPECT_FALSE(can_quantize_to(type));
    EXPECT_THROW(quantized(type, std::vector<float>(256)), std::invalid_argument);
  }
  EXPECT_EQ(quantizable_type_named("q6_k"), std::nullopt);
  EXPECT_EQ(quantizable_type_named("Q8_0"), std::nullopt);
  EXPECT_EQ(quantizable_type_named(""), std::nullopt);
  std::vector<std::byte> bytes(34);
  EXPECT_THROW(quantize(TensorType::Q8_0, std::vector<float>(33), bytes), std::invalid_argument);
}

TEST(Quantize, RefusesWhatTheTypeCannotHold) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1}) {
    for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> elements(32, 1.0F);
      elements[9] = bad;
      EXPECT_THAT(error_of<InputError>([&] { quantized(type, elements); }),
                  HasSubstr("a finite number expected"));
    }
    std::vector<float> elements(32, 0.0F);
    elements[9] = -3e38F;
    elements[10] = 3e38F;
    EXPECT_THROW(quantized(type, elements), InputError);
  }
  EXPECT_THAT(error_of<InputError>([] { quantized(TensorType::F16, {70000.0F}); }),
              HasSubstr("70000"));
  // What is no number in the source stays so where the type can say it.
  EXPECT_TRUE(std::isinf(values(TensorType::F16, quantized(TensorType::F16, {infinity}))[0]));
  EXPECT_TRUE(std::isnan(values(TensorType::BF16, quantized(TensorType::BF16, {NAN}))[0]));
}

TEST(Quantize, WeightsTooSmallForAScaleBecomeZeros) {
  const std::vector<float> tiny(32, std::numeric_limits<float>::denorm_min());
  for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1}) {
    for (const float value : values(type, quantized(type, tiny))) EXPECT_EQ(value, 0.0F);
  }
}

}  // namespace
}  // namespace fathom
