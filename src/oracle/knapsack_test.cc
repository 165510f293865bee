#include "oracle/knapsack.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include <gtest/gtest.h>

#include "base/random.h"
#include "oracle/budget_curve.h"

namespace fathom {
namespace {

enum class Kind { uniform_costs, ties, real_costs, own_costs };

// A small table of the kind: n up to 6 samples, up to 4 choices.
ChoiceTable draw_table(RandomStream& stream, Kind kind) {
  const std::size_t n = 1 + stream.below(6);
  ChoiceTable table{.choices = 1 + stream.below(4), .quality = {}, .cost = {}};
  std::array<double, 4> costs{};
  for (double& cost : costs)
    cost = static_cast<double>(1 + stream.below(kind == Kind::ties ? 4 : 24));
  for (std::size_t i = 0; i < n * table.choices; ++i) {
    double cost = costs.at(i % table.choices);
    double quality = stream.uniform();
    if (kind == Kind::ties) quality = static_cast<double>(stream.below(4)) / 4;
    if (kind == Kind::real_costs) cost = 10 * stream.uniform();
    if (kind == Kind::real_costs) quality = 2 * quality - 1;
    if (kind == Kind::own_costs) cost = static_cast<double>(stream.below(100));
    if (kind == Kind::own_costs && stream.below(3) == 0) quality = 0;
    table.quality.push_back(quality);
    table.cost.push_back(cost);
  }
  return table;
}

struct Total {
  double cost = 0;
  double quality = 0;
};

// Of every way to choose.
std::vector<Total> all_totals(const ChoiceTable& table) {
  std::vector<Total> totals{{}};
  for (std::size_t s = 0; s < table.samples(); ++s) {
    std::vector<Total> more;
    for (const Total& total : totals) {
      for (std::size_t k = 0; k < table.choices; ++k) {
        const std::size_t i = s * table.choices + k;
        more.push_back({total.cost + table.cost[i], total.quality + table.quality[i]});
      }
    }
    totals = std::move(more);
  }
  return totals;
}

// The best under a total cost; of equally good ones the cheapest.
Total best_of(const std::vector<Total>& totals, double capacity) {
  Total best{.cost = 0, .quality = -std::numeric_limits<double>::infinity()};
  for (const Total& total : totals) {
    if (total.cost > capacity * (1 + 1e-12)) continue;
    if (total.quality > best.quality + 1e-12 ||
        (total.quality > best.quality - 1e-12 && total.cost < best.cost)) {
      best = total;
    }
  }
  return best;
}

Total total_of(const ChoiceTable& table, const std::vector<std::uint32_t>& choices) {
  Total total;
  for (std::size_t s = 0; s < choices.size(); ++s) {
    total.cost += table.cost[s * table.choices + choices[s]];
    total.quality += table.quality[s * table.choices + choices[s]];
  }
  return total;
}

class SmallKnapsack : public testing::TestWithParam<Kind> {};

TEST_P(SmallKnapsack, EqualsBruteForce) {
  RandomStream stream({.seed = 1979, .layer = static_cast<std::uint32_t>(GetParam())});
  for (int round = 0; round < 3000; ++round) {
    const ChoiceTable table = draw_table(stream, GetParam());
    const Knapsack problem(table);
    const auto n = static_cast<double>(table.samples());
    const std::vector<Total> totals = all_totals(table);
    // Some anywhere, some that are just enough for something.
    std::vector<double> budgets{problem.least_budget(), problem.largest_cost()};
    for (int i = 0; i < 4; ++i) {
      budgets.push_back(problem.least_budget() +
                        stream.uniform() * 1.1 * (problem.largest_cost() - problem.least_budget()));
      budgets.push_back(
          std::max(problem.least_budget(), totals[stream.below(totals.size())].cost / n));
    }
    const std::vector<BudgetPoint> points = problem.solve(budgets);
    for (std::size_t i = 0; i < budgets.size(); ++i) {
      const Total best = best_of(totals, budgets[i] * n);
      ASSERT_TRUE(points[i].optimal);
      ASSERT_EQ(points[i].budget, budgets[i]);
      ASSERT_NEAR(points[i].mean_quality, best.quality / n, 1e-12);
      ASSERT_NEAR(points[i].mean_cost, best.cost / n, 1e-11);
      ASSERT_GE(points[i].upper_bound, points[i].mean_quality);
      const std::vector<std::uint32_t> choices = problem.allocate(budgets[i]);
      const Total total = total_of(table, choices);
      ASSERT_NEAR(total.quality, best.quality, 1e-11);
      ASSERT_NEAR(total.cost, best.cost, 1e-10);
      for (std::size_t k = 0; k < table.choices; ++k) {
        ASSERT_EQ(points[i].counts[k],
                  static_cast<std::size_t>(std::count(choices.begin(), choices.end(), k)));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SmallKnapsack,
                         testing::Values(Kind::uniform_costs, Kind::ties, Kind::real_costs,
                                         Kind::own_costs));

TEST(BudgetCurve, EqualsBruteForce) {
  RandomStream stream({.seed = 1975});
  for (int round = 0; round < 2000; ++round) {
    const ChoiceTable table = draw_table(stream, round % 2 == 0 ? Kind::uniform_costs : Kind::ties);
    const std::optional<BudgetCurve> curve = budget_curve(Knapsack(table));
    ASSERT_TRUE(curve);
    const std::vector<Total> totals = all_totals(table);
    for (std::size_t i = 0; i < curve->total_quality.size(); ++i) {
      const double capacity = curve->least_total + static_cast<double>(i) * curve->unit;
      ASSERT_NEAR(curve->total_quality[i], best_of(totals, capacity).quality, 1e-12);
    }
    ASSERT_NEAR(curve->total_quality.back(), best_of(totals, 1e9).quality, 1e-12);
  }
}

// Scores like those of short labels: shares of few words, often equal, often 0.
ChoiceTable like_scores(std::size_t n, std::span<const double> costs) {
  RandomStream stream({.seed = 2024});
  ChoiceTable table{.choices = costs.size(), .quality = {}, .cost = {}};
  for (std::size_t s = 0; s < n; ++s) {
    const double words = static_cast<double>(1 + stream.below(60));
    const bool zero = stream.below(10) == 0;
    const double easy = 0.3 * stream.uniform();
    for (std::size_t k = 0; k < costs.size(); ++k) {
      const double quality = easy + 0.05 * static_cast<double>(k) + 0.25 * stream.uniform();
      table.quality.push_back(zero ? 0 : std::round(quality * words) / words);
      table.cost.push_back(costs[k]);
    }
  }
  return table;
}

// The textbook's dynamic programming over all total costs.
std::vector<double> by_dynamic_programming(const ChoiceTable& table, std::size_t budgets,
                                           std::size_t least) {
  std::vector<double> best(budgets, -std::numeric_limits<double>::infinity());
  best[0] = 0;
  std::vector<double> next(budgets);
  for (std::size_t s = 0; s < table.samples(); ++s) {
    std::fill(next.begin(), next.end(), -std::numeric_limits<double>::infinity());
    for (std::size_t k = 0; k < table.choices; ++k) {
      const std::size_t i = s * table.choices + k;
      const auto step = static_cast<std::size_t>(table.cost[i]) - least;
      for (std::size_t c = step; c < budgets; ++c) {
        next[c] = std::max(next[c], best[c - step] + table.quality[i]);
      }
    }
    std::swap(best, next);
  }
  for (std::size_t c = 1; c < budgets; ++c) best[c] = std::max(best[c], best[c - 1]);
  return best;
}

TEST(BudgetCurve, EqualsDynamicProgramming) {
  for (const std::array<double, 4> costs :
       {std::array<double, 4>{4, 8, 12, 24}, std::array<double, 4>{7, 15, 22, 30},
        std::array<double, 4>{18, 22, 26, 30}}) {
    const std::size_t n = 300;
    const ChoiceTable table = like_scores(n, costs);
    const Knapsack problem(table);
    const std::optional<BudgetCurve> curve = budget_curve(problem);
    ASSERT_TRUE(curve);
    const auto least = static_cast<std::size_t>(costs.front());
    const std::size_t budgets = n * (static_cast<std::size_t>(costs.back()) - least) + 1;
    const std::vector<double> expected = by_dynamic_programming(table, budgets, least);
    std::vector<double> means;
    for (std::size_t c = 0; c < budgets; ++c) {
      means.push_back(static_cast<double>(n * least + c) / static_cast<double>(n));
    }
    const std::vector<BudgetPoint> points = problem.solve(means);
    for (std::size_t c = 0; c < budgets; ++c) {
      const std::size_t i =
          std::min(c / static_cast<std::size_t>(curve->unit), curve->total_quality.size() - 1);
      ASSERT_NEAR(curve->total_quality[i], expected[c], 1e-10);
      ASSERT_NEAR(points[c].mean_quality * static_cast<double>(n), expected[c], 1e-10);
      ASSERT_TRUE(points[c].optimal);
      ASSERT_LE(points[c].mean_cost, means[c] * (1 + 1e-12));
    }
  }
}

// All samples alike: the gap to the relaxation stays open, and no sample is nearer to the core.
TEST(Knapsack, ManyEqualSamplesAreSolvedToo) {
  ChoiceTable table{.choices = 3, .quality = {}, .cost = {}};
  for (int s = 0; s < 2000; ++s) {
    table.quality.insert(table.quality.end(), {0, 0.01, 1});
    table.cost.insert(table.cost.end(), {4, 12, 24});
  }
  const Knapsack problem(table);
  // 100 of the dearest take 2,000 more; then 16 remain for two of the middle, of 8 each.
  const std::vector<BudgetPoint> points = problem.solve(std::array{4 + 2016.0 / 2000});
  EXPECT_TRUE(points[0].optimal);
  EXPECT_NEAR(points[0].mean_quality * 2000, 100.02, 1e-9);
  EXPECT_EQ(points[0].counts, (std::vector<std::size_t>{1898, 2, 100}));
}

TEST(Knapsack, TheCurveNeverFallsAndStaysUnderItsBound) {
  const ChoiceTable table = like_scores(500, std::array<double, 4>{4, 8, 12, 24});
  const Knapsack problem(table);
  std::vector<double> budgets;
  for (int i = 0; i <= 240; ++i) budgets.push_back(4 + i / 12.0);
  double last = 0;
  for (const BudgetPoint& point : problem.solve(budgets)) {
    EXPECT_GE(point.mean_quality, last);
    EXPECT_LE(point.mean_quality, point.upper_bound);
    last = point.mean_quality;
  }
  EXPECT_NEAR(last, problem.largest_quality(), 1e-14);
}

TEST(Knapsack, OrderOfBudgetsDoesNotMatter) {
  const Knapsack problem(like_scores(100, std::array<double, 4>{4, 8, 12, 24}));
  const std::vector<BudgetPoint> up = problem.solve(std::array{4.0, 6.0, 11.0, 24.0});
  const std::vector<BudgetPoint> mixed = problem.solve(std::array{11.0, 24.0, 4.0, 6.0});
  EXPECT_EQ(up[2].mean_quality, mixed[0].mean_quality);
  EXPECT_EQ(up[2].counts, mixed[0].counts);
  EXPECT_EQ(up[0].counts, mixed[2].counts);
  EXPECT_EQ(up[0].counts[0], 100);
}

TEST(Knapsack, RefusesWhatIsNone) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(Knapsack({.choices = 0}), std::invalid_argument);
  EXPECT_THROW(Knapsack({.choices = 2}), std::invalid_argument);
  EXPECT_THROW(Knapsack({.choices = 2, .quality = {1, 2, 3}, .cost = {1, 2, 3}}),
               std::invalid_argument);
  EXPECT_THROW(Knapsack({.choices = 1, .quality = {1}, .cost = {1, 2}}), std::invalid_argument);
  EXPECT_THROW(Knapsack({.choices = 1, .quality = {nan}, .cost = {1}}), std::invalid_argument);
  EXPECT_THROW(Knapsack({.choices = 1, .quality = {1}, .cost = {-1}}), std::invalid_argument);
  const Knapsack problem({.choices = 1, .quality = {1}, .cost = {4}});
  EXPECT_THROW(static_cast<void>(problem.solve(std::array{3.9})), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(problem.solve(std::array{nan})), std::invalid_argument);
  EXPECT_EQ(problem.solve(std::array{4.0})[0].mean_quality, 1);
}

}  // namespace
}  // namespace fathom
