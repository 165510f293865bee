#include "generate/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace fathom {
namespace {

// How often each token is drawn, over 20,000 positions.
std::map<int, int> draw(const std::vector<float>& logits, SamplingOptions options,
                        const std::vector<TokenId>& history = {}) {
  Sampler sampler(options);
  std::map<int, int> counts;
  for (std::uint32_t position = 0; position < 20000; ++position) {
    ++counts[sampler.sample(logits, history, {.seed = 1, .position = position}).value];
  }
  return counts;
}

// Probabilities 0.5, 0.25, 0.125, 0.0625 and the rest.
const std::vector<float> halves{0.0F, std::log(0.5F), std::log(0.25F), std::log(0.125F),
                                std::log(0.125F)};

TEST(Sampler, GreedyTakesTheFirstLargest) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 3, 3, 2}, {}, {}), TokenId{1});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sampler.sample(std::vector<float>{nan, 1, nan}, {}, {}), TokenId{1});
  EXPECT_THROW((void)sampler.sample(std::vector<float>{nan, nan}, {}, {}), InputError);
}

TEST(Sampler, TemperatureOneDrawsFromTheSoftmax) {
  const auto counts = draw(halves, {.temperature = 1});
  // Five standard deviations of a binomial count of 20,000 are below 354.
  EXPECT_NEAR(counts.at(0), 10000, 354);
  EXPECT_NEAR(counts.at(1), 5000, 307);
  EXPECT_NEAR(counts.at(2), 2500, 234);
  EXPECT_NEAR(counts.at(3), 1250, 171);
}

TEST(Sampler, TemperatureSharpens) {
  // At temperature 0.5 probabilities are squared: 1, 1/4, 1/16, 1/64, 1/64.
  const auto counts = draw(halves, {.temperature = 0.5});
  EXPECT_NEAR(counts.at(0), 20000 / (1 + 0.25 + 0.0625 + 2.0 / 64), 354);
}

TEST(Sampler, FiltersKeepTheLikeliest) {
  EXPECT_EQ(draw(halves, {.temperature = 1, .top_k = 2}).size(), 2U);
  EXPECT_EQ(draw(halves, {.temperature = 1, .top_k = 1}).size(), 1U);
  EXPECT_EQ(draw(halves, {.temperature = 1, .top_k = 100}).size(), 5U);
  EXPECT_EQ(draw(halves, {.temperature = 1, .top_p = 0.5}).size(), 1U);
  EXPECT_EQ(draw(halves, {.temperature = 1, .top_p = 0.74}).size(), 2U);
  EXPECT_EQ(draw(halves, {.temperature = 1, .top_p = 0.76}).size(), 3U);
  EXPECT_EQ(draw(halves, {.temperature = 1, .min_p = 0.3}).size(), 2U);
  EXPECT_EQ(draw(halves, {.temperature = 1, .min_p = 1.0}).size(), 1U);
}

TEST(Sampler, RepetitionPenaltyActsOnBothSigns) {
  Sampler sampler({.repetition_penalty = 2});
  // 3 becomes 1.5; -1 becomes -2.
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 2}, std::vector{TokenId{0}}, {}), TokenId{1});
  EXPECT_EQ(sampler.sample(std::vector<float>{-1, -1.5F}, std::vector{TokenId{0}, TokenId{0}}, {}),
            TokenId{1});
}

TEST(Sampler, TheDrawDependsOnItsKeyAlone) {
  Sampler a({.temperature = 1});
  Sampler b({.temperature = 1});
  for (std::uint32_t position = 0; position < 50; ++position) {
    (void)b.sample(halves, {}, {.seed = 9, .position = position});
    EXPECT_EQ(a.sample(halves, {}, {.seed = 4, .position = position}),
              b.sample(halves, {}, {.seed = 4, .position = position}));
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  EXPECT_THROW(Sampler({.temperature = -1}), InputError);
  EXPECT_THROW(Sampler({.temperature = std::nan("")}), InputError);
  EXPECT_THROW(Sampler({.top_k = 0}), InputError);
  EXPECT_THROW(Sampler({.top_p = 0.0}), InputError);
  EXPECT_THROW(Sampler({.top_p = 1.1}), InputError);
  EXPECT_THROW(Sampler({.min_p = -0.1}), InputError);
  EXPECT_THROW(Sampler({.repetition_penalty = 0}), InputError);
}

TEST(Sampler, LogprobsAreOfTheSoftmax) {
  const auto likely = most_likely(halves, 3);
  ASSERT_EQ(likely.size(), 3U);
  EXPECT_EQ(likely[0].token, TokenId{0});
  EXPECT_NEAR(likely[0].logprob, std::log(0.5), 1e-6);
  EXPECT_NEAR(likely[2].logprob, std::log(0.125), 1e-6);
  EXPECT_EQ(most_likely(halves, 99).size(), 5U);
  EXPECT_NEAR(log_sum_exp(std::vector<float>{1000, 1000}), 1000 + std::log(2), 1e-9);
  // Terms are good to 2 units in the last place of float32, so the sum's logarithm to 2^-22.
  std::vector<float> logits;
  double sum = 0;
  for (int i = 0; i < 20000; ++i) {
    logits.push_back(static_cast<float>(-0.005 * i));
    sum += std::exp(static_cast<double>(logits.back()));
    ASSERT_NEAR(log_sum_exp(logits), std::log(sum), 0x1p-22) << i;
    if (i > 200) i += 97;
  }
  EXPECT_TRUE(std::isnan(log_sum_exp(std::vector<float>{0, std::nanf(""), 1})));
}

}  // namespace
}  // namespace fathom
