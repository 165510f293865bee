#include "model/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace fathom {
namespace {

// By the definition, in double.
double margin_by_definition(const std::vector<float>& logits) {
  std::vector<double> probabilities;
  double total = 0;
  for (const float logit : logits) {
    probabilities.push_back(std::exp(static_cast<double>(logit)));
    total += probabilities.back();
  }
  std::sort(probabilities.rbegin(), probabilities.rend());
  return (probabilities[0] - probabilities[1]) / total;
}

TEST(SoftmaxMargin, EqualsItsDefinitionWithAndWithoutMaxima) {
  RandomStream random({.seed = 4});
  for (const std::size_t size : {2U, 15U, 16U, 17U, 100U, 2000U}) {
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<float> logits;
      for (std::size_t i = 0; i < size; ++i) {
        logits.push_back(static_cast<float>(20 * random.uniform() - 10));
      }
      std::vector<float> maxima;
      for (std::size_t begin = 0; begin < size; begin += logit_block) {
        const auto block = std::span(logits).subspan(begin, std::min(logit_block, size - begin));
        maxima.push_back(maximum(block));
      }
      const float margin = softmax_margin({.values = logits});
      EXPECT_NEAR(margin, margin_by_definition(logits), 2e-6) << size;
      EXPECT_EQ(margin, softmax_margin({.values = logits, .maxima = maxima}));
    }
  }
}

TEST(SoftmaxMargin, KnowsTiesAndCertainty) {
  EXPECT_EQ(softmax_margin({.values = std::vector<float>{1, 3, 3, 2}}), 0);
  EXPECT_EQ(softmax_margin({.values = std::vector<float>{0, 200, 0}}), 1);
  EXPECT_EQ(softmax_margin({.values = std::vector<float>{5}}), 1);
}

TEST(SoftmaxMargin, IsNoNumberWhereLogitsAreNone) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(softmax_margin({.values = std::vector<float>{1, nan, 0}})));
  EXPECT_THROW(softmax_margin({.values = std::vector<float>{nan, nan}}), InputError);
}

}  // namespace
}  // namespace fathom
