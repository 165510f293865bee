#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/softmax.h"

namespace fathom {
namespace {

// How often each token is drawn, over 20,000 positions.
std::map<int, int> draw(const std::vector<float>& logits, SamplingOptions options,
                        const std::vector<TokenId>& history = {}) {
  Sampler sampler(options);
  std::map<int, int> counts;
  for (std::uint32_t position = 0; position < 20000; ++position) {
    ++counts[sampler.sample({.values = logits}, history, {.seed = 1, .position = position}).value];
  }
  return counts;
}

// Probabilities 0.5, 0.25, 0.125, 0.0625 and the rest.
const std::vector<float> halves{0.0F, std::log(0.5F), std::log(0.25F), std::log(0.125F),
                                std::log(0.125F)};

TEST(Sampler, GreedyTakesTheFirstLargest) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample({.values = std::vector<float>{1, 3, 3, 2}}, {}, {}), TokenId{1});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sampler.sample({.values = std::vector<float>{nan, 1, nan}}, {}, {}), TokenId{1});
  EXPECT_THROW((void)sampler.sample({.values = std::vector<float>{nan, nan}}, {}, {}), InputError);
}

// Maxima of blocks may be given or not, and must not change what is drawn.
TEST(Sampler, GivenMaximaChangeNothing) {
  constexpr std::size_t vocabulary = 1000;  // not a multiple of a block
  RandomStream random({.seed = 5});
  std::vector<float> logits;
  for (std::size_t i = 0; i < vocabulary; ++i) {
    logits.push_back(static_cast<float>(random.uniform() * 20 - 10));
  }
  logits[17] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> maxima;
  for (std::size_t begin = 0; begin < vocabulary; begin += logit_block) {
    float largest = -std::numeric_limits<float>::infinity();
    for (std::size_t i = begin; i < std::min(vocabulary, begin + logit_block); ++i) {
      if (logits[i] > largest) largest = logits[i];
    }
    maxima.push_back(largest);
  }
  std::vector<TokenId> history;
  for (std::int32_t i = 0; i < 40; ++i) history.emplace_back(i * 25);
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.repetition_penalty = 1.5},
        SamplingOptions{.temperature = 1, .top_k = 5},
        SamplingOptions{.temperature = 1, .top_k = 300},
        SamplingOptions{.temperature = 2, .top_p = 0.9, .repetition_penalty = 2}}) {
    Sampler without(options);
    Sampler with(options);
    for (std::uint32_t position = 0; position < 200; ++position) {
      const RandomKey key{.seed = 3, .position = position};
      ASSERT_EQ(with.sample({.values = logits, .maxima = maxima}, history, key),
                without.sample({.values = logits}, history, key));
    }
  }
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

// Of as many tokens as it takes for the ways that spare sorting all of them, some equally likely.
std::vector<float> many_logits() {
  RandomStream random({.seed = 3});
  std::vector<float> logits;
  for (int i = 0; i < 3000; ++i) logits.push_back(static_cast<float>(random.below(400)) / 40);
  return logits;
}

std::vector<int> likeliest_first(const std::vector<float>& logits) {
  std::vector<int> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  return ids;
}

TEST(Sampler, TopKKeepsExactlyTheKLikeliestOfMany) {
  const std::vector<float> logits = many_logits();
  const std::vector<int> ids = likeliest_first(logits);
  for (const std::size_t k : {1U, 7U, 46U, 47U, 48U, 300U}) {
    std::set<int> expected(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(k));
    std::set<int> drawn;
    for (const auto& [id, count] : draw(logits, {.temperature = 20, .top_k = k})) drawn.insert(id);
    EXPECT_EQ(drawn, expected) << k;
  }
}

TEST(Sampler, TopPKeepsExactlyTheNucleusOfMany) {
  const std::vector<float> logits = many_logits();
  const std::vector<int> ids = likeliest_first(logits);
  const double temperature = 2;
  const auto weight = [&](int id) {
    return std::exp(logits[static_cast<std::size_t>(id)] / temperature);
  };
  double total = 0;
  for (const int id : ids) total += weight(id);
  for (const double p : {0.001, 0.01, 0.1, 0.2}) {
    std::set<int> expected;
    double sum = 0;
    for (std::size_t i = 0; sum < p * total; ++i) {
      sum += weight(ids[i]);
      expected.insert(ids[i]);
    }
    std::set<int> drawn;
    for (const auto& [id, count] : draw(logits, {.temperature = temperature, .top_p = p})) {
      drawn.insert(id);
    }
    EXPECT_EQ(drawn, expected) << p;
  }
}

TEST(Sampler, DrawsEvenlyAmongMany) {
  std::map<int, int> counts;  // of each hundred tokens
  for (const auto& [id, count] : draw(std::vector<float>(1500, 2.5F), {.temperature = 1})) {
    counts[id / 100] += count;
  }
  ASSERT_EQ(counts.size(), 15U);
  // Five standard deviations.
  for (const auto& [hundred, count] : counts) EXPECT_NEAR(count, 20000 / 15.0, 177) << hundred;
}

TEST(Sampler, ImpossibleTokensAreNotDrawn) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(draw({-infinity, 1, nan, 1, -1000}, {.temperature = 1}).size(), 2U);
  EXPECT_EQ(draw({-infinity, 1, nan, 1, -1000}, {.temperature = 1, .top_k = 4}).size(), 2U);
  EXPECT_EQ(draw({1, infinity, 2}, {.temperature = 1}).size(), 1U);
  // As cold or as hot as can be asked for.
  EXPECT_EQ(draw(halves, {.temperature = 1e-300}).size(), 1U);
  EXPECT_EQ(draw(halves, {.temperature = 1e300}).size(), halves.size());
}

TEST(Sampler, RepetitionPenaltyActsOnBothSigns) {
  Sampler sampler({.repetition_penalty = 2});
  // 3 becomes 1.5; -1 becomes -2.
  EXPECT_EQ(sampler.sample({.values = std::vector<float>{3, 2}}, std::vector{TokenId{0}}, {}),
            TokenId{1});
  EXPECT_EQ(sampler.sample({.values = std::vector<float>{-1, -1.5F}},
                           std::vector{TokenId{0}, TokenId{0}}, {}),
            TokenId{1});
}

TEST(Sampler, TheDrawDependsOnItsKeyAlone) {
  Sampler a({.temperature = 1});
  Sampler b({.temperature = 1});
  for (std::uint32_t position = 0; position < 50; ++position) {
    (void)b.sample({.values = halves}, {}, {.seed = 9, .position = position});
    EXPECT_EQ(a.sample({.values = halves}, {}, {.seed = 4, .position = position}),
              b.sample({.values = halves}, {}, {.seed = 4, .position = position}));
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
