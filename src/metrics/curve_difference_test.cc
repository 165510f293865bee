#include "metrics/curve_difference.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include <gtest/gtest.h>

#include "base/random.h"
#include "metrics/paired_tests.h"

namespace fathom {
namespace {

// Points at these mean costs, whose rows share what is theirs and differ by noise.
CostCurve curve(const std::vector<double>& costs, const std::vector<double>& qualities,
                std::size_t rows, double noise, std::uint64_t seed) {
  CostCurve result;
  RandomStream of_rows({.seed = 1});
  std::vector<double> common;
  for (std::size_t row = 0; row < rows; ++row) common.push_back(of_rows.uniform() - 0.5);
  RandomStream random({.seed = seed});
  for (std::size_t p = 0; p < costs.size(); ++p) {
    std::vector<double> quality, cost, weight;
    for (std::size_t row = 0; row < rows; ++row) {
      const double tokens = 5 + static_cast<double>(random.below(20));
      quality.push_back(qualities[p] + common[row] + noise * (random.uniform() - 0.5));
      weight.push_back(tokens);
      cost.push_back(tokens * costs[p]);
    }
    result.quality.push_back(quality);
    result.cost.push_back(cost);
    result.weight.push_back(weight);
  }
  return result;
}

TEST(CurveDifference, InterpolatesToTheSameCostWhereBothReach) {
  const CostCurve a = curve({4, 8, 16}, {0.1, 0.2, 0.4}, 10, 0, 2);
  const CostCurve b = curve({20, 6}, {0.4, 0.05}, 10, 0, 3);  // in any order
  const auto found = compare_curves(a, b, {.costs = 3, .resamples = 99});
  ASSERT_EQ(found.size(), 3U);
  // From 6 to 16: the first is at 0.15, 0.275 and 0.4, the second at 0.05, 0.175 and 0.3.
  const std::vector<double> costs{6, 11, 16};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(found[i].cost, costs[i], 1e-12);
    EXPECT_NEAR(found[i].estimate, 0.1, 1e-9);
    // What rows have in common cancels: nothing varies.
    EXPECT_NEAR(found[i].low, 0.1, 1e-9);
    EXPECT_NEAR(found[i].high, 0.1, 1e-9);
    EXPECT_EQ(found[i].p_greater, 0.01);
    EXPECT_EQ(found[i].p_less, 1);
    EXPECT_EQ(found[i].p_equivalent, 1);
  }
  EXPECT_TRUE(compare_curves(a, curve({17, 20}, {0, 0}, 10, 0, 4), {.resamples = 9}).empty());
}

TEST(CurveDifference, AgreesWithThePairedTestOnCurvesOfOnePoint) {
  const std::size_t rows = 400;
  const CostCurve a = curve({8}, {0.304}, rows, 0.1, 5);
  const CostCurve b = curve({8}, {0.3}, rows, 0.1, 6);
  std::vector<double> differences;
  for (std::size_t row = 0; row < rows; ++row) {
    differences.push_back(a.quality[0][row] - b.quality[0][row]);
  }
  const auto found = compare_curves(a, b, {});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NEAR(found[0].p_greater, paired_t_test(differences, Alternative::greater).p_value, 0.01);
  EXPECT_NEAR(found[0].p_equivalent, paired_tost(differences, 0.01), 0.01);
}

// Where the difference is the margin itself, equivalence is found in 5% of cases at most.
TEST(CurveDifference, SaysEquivalentSeldomWhereItIsNot) {
  int found = 0;
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    const CostCurve a = curve({4, 8}, {0.31, 0.36}, 60, 0.1, 1000 + 2 * trial);
    const CostCurve b = curve({4, 8}, {0.30, 0.35}, 60, 0.1, 1001 + 2 * trial);
    const auto at = compare_curves(a, b, {.costs = 1, .resamples = 199, .seed = trial});
    if (at[0].p_equivalent <= 0.05) ++found;
  }
  EXPECT_LE(found, 20);  // 10 expected; 20 and more has a chance of 0.002
  const CostCurve a = curve({4, 8}, {0.30, 0.35}, 400, 0.1, 7);
  const CostCurve b = curve({4, 8}, {0.30, 0.35}, 400, 0.1, 8);
  for (const CurveDifference& each : compare_curves(a, b, {.resamples = 999})) {
    EXPECT_LT(each.p_equivalent, 0.05);
    EXPECT_LT(each.low, 0.005);
    EXPECT_GT(each.high, -0.005);
  }
}

TEST(CurveDifference, RefusesWhatIsNoCurve) {
  const CostCurve good = curve({4, 8}, {0.3, 0.35}, 5, 0.1, 1);
  EXPECT_THROW(compare_curves({}, good, {}), std::invalid_argument);
  EXPECT_THROW(compare_curves(good, {}, {}), std::invalid_argument);
  EXPECT_THROW(compare_curves(good, curve({4}, {0.3}, 6, 0.1, 1), {}), std::invalid_argument);
  CostCurve bad = good;
  bad.quality[0][1] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(compare_curves(good, bad, {}), std::invalid_argument);
  bad = good;
  std::fill(bad.weight[1].begin(), bad.weight[1].end(), 0.0);
  EXPECT_THROW(compare_curves(good, bad, {}), std::invalid_argument);
}

}  // namespace
}  // namespace fathom
