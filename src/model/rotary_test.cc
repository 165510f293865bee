#include "model/rotary.h"

#include <cmath>

#include <gtest/gtest.h>

namespace fathom {
namespace {

RotaryConfig with(RotaryScaling scaling) {
  return {.dimensions = 64, .base = 10000, .scaling = std::move(scaling)};
}

TEST(Rotary, FrequenciesFallGeometrically) {
  const auto frequencies = rotary_frequencies(with(NoScaling{}));
  ASSERT_EQ(frequencies.size(), 32U);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_FLOAT_EQ(frequencies[i],
                    static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / 32)));
  }
}

TEST(Rotary, LinearScalingDividesAll) {
  const auto plain = rotary_frequencies(with(NoScaling{}));
  const auto scaled = rotary_frequencies(with(LinearScaling{4}));
  const auto stored = rotary_frequencies(with(FrequencyFactors{std::vector<float>(32, 4.0F)}));
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4);
  EXPECT_EQ(scaled, stored);
}

TEST(Rotary, Llama3KeepsHighAndDividesLowFrequencies) {
  const Llama3Scaling scaling{
      .factor = 8, .low_frequency_factor = 1, .high_frequency_factor = 4, .original_context = 1024};
  const auto plain = rotary_frequencies(with(NoScaling{}));
  const auto scaled = rotary_frequencies(with(scaling));
  EXPECT_EQ(scaled.front(), plain.front());
  EXPECT_FLOAT_EQ(scaled.back(), plain.back() / 8);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_LE(scaled[i], plain[i]);
    EXPECT_GE(scaled[i], plain[i] / 8 * 0.999F);
    if (i > 0) {
      EXPECT_LT(scaled[i], scaled[i - 1]);
    }
  }
}

TEST(Rotary, YarnScalesAttentionAndKeepsHighFrequencies) {
  const YarnScaling scaling{
      .factor = 4, .original_context = 1024, .attention_factor = yarn_attention_factor(4)};
  const auto plain = rotary_frequencies(with(NoScaling{}));
  const auto scaled = rotary_frequencies(with(scaling));
  EXPECT_EQ(scaled.front(), plain.front());
  EXPECT_FLOAT_EQ(scaled.back(), plain.back() / 4);
  EXPECT_NEAR(rotary_attention_factor(with(scaling)), 0.1 * std::log(4.0) + 1, 1e-6);
  EXPECT_EQ(rotary_attention_factor(with(NoScaling{})), 1.0F);
  EXPECT_EQ(yarn_attention_factor(1), 1.0);
}

}  // namespace
}  // namespace fathom
