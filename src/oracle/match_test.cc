#include "oracle/match.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include <gtest/gtest.h>

#include "base/random.h"

namespace fathom {
namespace {

struct Drawn {
  ChoiceTable table;
  std::vector<double> full;  // qualities of the dearest choice
};

Drawn draw(std::uint64_t seed, std::size_t n) {
  RandomStream stream({.seed = seed});
  Drawn drawn{.table = {.choices = 4, .quality = {}, .cost = {}}, .full = {}};
  constexpr std::array<double, 4> costs{4, 8, 12, 24};
  for (std::size_t s = 0; s < n; ++s) {
    const double easy = 0.3 * stream.uniform();
    for (std::size_t k = 0; k < costs.size(); ++k) {
      drawn.table.quality.push_back(easy + 0.05 * static_cast<double>(k) + 0.3 * stream.uniform());
      drawn.table.cost.push_back(costs.at(k));
    }
    drawn.full.push_back(drawn.table.quality.back());
  }
  return drawn;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

TEST(LeastBudget, IsTheFirstThatIsEnough) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::size_t n = 3 + seed;
    const Drawn drawn = draw(seed, n);
    const Knapsack problem(drawn.table);
    const double target = mean(drawn.full);
    const double budget = least_budget_for(problem, target);
    const double step = 4.0 / static_cast<double>(n);
    EXPECT_GE(problem.solve(std::array{budget})[0].mean_quality, target - 1e-12);
    if (budget - step >= problem.least_budget()) {
      EXPECT_LT(problem.solve(std::array{budget - step})[0].mean_quality, target);
    }
  }
}

TEST(LeastBudget, CanBeTheCheapestAndCanBeNone) {
  const Knapsack problem({.choices = 2, .quality = {1, 0.5, 0.5, 1}, .cost = {1, 2, 1, 2}});
  EXPECT_EQ(least_budget_for(problem, 0.75), 1);
  EXPECT_EQ(least_budget_for(problem, -3), 1);
  EXPECT_EQ(least_budget_for(problem, 1), 1.5);
  EXPECT_THROW(static_cast<void>(least_budget_for(problem, 1.01)), std::invalid_argument);
}

TEST(LeastBudget, TakesRealCosts) {
  const Knapsack problem({.choices = 2, .quality = {0, 1, 0, 2}, .cost = {0.3, 1.7, 0.3, 2.9}});
  EXPECT_NEAR(least_budget_for(problem, 0.5), 1, 1e-9);
  EXPECT_NEAR(least_budget_for(problem, 0.6), 1.6, 1e-9);
  EXPECT_NEAR(least_budget_for(problem, 1.5), 2.3, 1e-9);
}

TEST(MatchModel, TheIntervalHoldsTheTruthAsOftenAsItSays) {
  // The truth, from many samples.
  const Drawn large = draw(1, 200'000);
  const double truth = least_budget_for(Knapsack(large.table), mean(large.full));
  int held = 0;
  constexpr int rounds = 300;
  for (int round = 0; round < rounds; ++round) {
    const Drawn drawn = draw(100 + static_cast<std::uint64_t>(round), 150);
    const Interval interval =
        match_model(Knapsack(drawn.table), drawn.full, {.seed = 1, .resamples = 399, .level = 0.9});
    EXPECT_LE(interval.low, interval.high);
    held += interval.low <= truth && truth <= interval.high ? 1 : 0;
  }
  // 90%; the standard error of 300 rounds is 1.7%, and 399 resamples and 150 samples cost some.
  EXPECT_GT(held, rounds * 0.84);
  EXPECT_LT(held, rounds * 0.96);
}

TEST(MatchModel, AgreesWithAPlainBootstrap) {
  const Drawn drawn = draw(3, 60);
  const Interval interval =
      match_model(Knapsack(drawn.table), drawn.full, {.seed = 2, .resamples = 1999});
  // The percentiles of budgets that are found anew on resampled tables.
  RandomStream stream({.seed = 9});
  std::vector<double> budgets;
  for (int i = 0; i < 1000; ++i) {
    Drawn resample{.table = {.choices = 4, .quality = {}, .cost = {}}, .full = {}};
    for (std::size_t s = 0; s < 60; ++s) {
      const auto from = static_cast<std::ptrdiff_t>(4 * stream.below(60));
      const auto copy = [&](std::vector<double>& to, const std::vector<double>& all) {
        to.insert(to.end(), all.begin() + from, all.begin() + from + 4);
      };
      copy(resample.table.quality, drawn.table.quality);
      copy(resample.table.cost, drawn.table.cost);
      resample.full.push_back(resample.table.quality.back());
    }
    budgets.push_back(least_budget_for(Knapsack(resample.table), mean(resample.full)));
  }
  std::sort(budgets.begin(), budgets.end());
  const double width = budgets[975] - budgets[25];
  // Percentiles and BCa differ by skewness and bias, and both by the draws.
  EXPECT_NEAR(interval.low, budgets[25], 0.2 * width);
  EXPECT_NEAR(interval.high, budgets[975], 0.2 * width);
}

TEST(MatchModel, OneSampleHasNoInterval) {
  const Interval interval =
      match_model(Knapsack({.choices = 2, .quality = {0, 1}, .cost = {1, 2}}), std::array{1.0}, {});
  EXPECT_EQ(interval.estimate, 2);
  EXPECT_TRUE(std::isnan(interval.low));
}

TEST(MatchModel, AModelThatTheCheapestEqualsHasAPoint) {
  const std::vector<double> quality = {1, 1, 0.5, 0.5, 0, 0, 0.2, 0.2};
  const std::vector<double> cost = {4, 8, 4, 8, 4, 8, 4, 8};
  const Interval interval = match_model(Knapsack({.choices = 2, .quality = quality, .cost = cost}),
                                        std::array{1.0, 0.5, 0.0, 0.2}, {.resamples = 99});
  EXPECT_EQ(interval.estimate, 4);
  EXPECT_EQ(interval.low, 4);
  EXPECT_EQ(interval.high, 4);
}

}  // namespace
}  // namespace fathom
