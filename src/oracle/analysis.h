#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metrics/chi_squared.h"
#include "metrics/interval.h"
#include "oracle/knapsack.h"
#include "oracle/score_table.h"

namespace fathom {

/// Whether the oracle's depths depend on how long the label is, under a budget [Glavas24 A.5.2].
struct LengthTest {
  double budget = 0;
  std::vector<std::vector<std::uint64_t>> counts;  ///< depths_by_length
  ChiSquaredResult result;                         ///< over bins and depths that occur
};

/// What hindsight could do with the scores of a table [Glavas24 3.3, A.5]. By depth where said.
struct OracleAnalysis {
  std::vector<double> static_quality;  ///< by depth: every sample at that depth
  std::vector<double> static_cost;
  std::vector<double> greedy;  ///< by depth: greedy_oracle
  std::vector<BudgetPoint> budgets;
  Interval match_full;  ///< the budget at which the oracle equals the deepest model
  /// At a quarter of the deepest model's cost, rounded to whole layers (or at match_full where that
  /// is below the cheapest depths), and at all of it. Empty without label tokens.
  std::vector<LengthTest> length_tests;
};

/// 41 budgets, evenly spaced from what the cheapest choices cost to what the deepest model does.
std::vector<double> default_budgets(const ScoreTable& table, const Knapsack& problem);

/// Resamples for the interval of match_full: enough that its ends move by little from seed to seed.
inline constexpr std::uint32_t match_resamples = 2000;

/// `problem` is the table's. Throws std::invalid_argument as Knapsack::solve() does.
OracleAnalysis analyse(const ScoreTable& table, const Knapsack& problem,
                       std::span<const double> budgets, const BootstrapOptions& options);

}  // namespace fathom
