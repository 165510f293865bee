#include "oracle/analysis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "oracle/match.h"

namespace fathom {
namespace {

constexpr int default_steps = 40;

std::vector<LengthTest> test_lengths(const ScoreTable& table, const Knapsack& problem,
                                     double full_cost, double match_full) {
  std::vector<LengthTest> tests;
  if (table.label_tokens.empty()) return tests;
  const double quarter = std::round(full_cost / 4);
  for (const double budget :
       {quarter >= problem.least_budget() ? quarter : match_full, full_cost}) {
    LengthTest test{.budget = std::max(budget, problem.least_budget()), .counts = {}, .result = {}};
    test.counts = depths_by_length(table, problem.allocate(test.budget));
    test.result = chi_squared_homogeneity(test.counts);
    tests.push_back(std::move(test));
  }
  return tests;
}

}  // namespace

std::vector<double> default_budgets(const ScoreTable& table, const Knapsack& problem) {
  const double low = problem.least_budget();
  const double high = std::max(low, mean_cost(table, table.depths.size() - 1));
  std::vector<double> budgets;
  for (int i = 0; i <= default_steps; ++i) {
    budgets.push_back(std::lerp(low, high, static_cast<double>(i) / default_steps));
  }
  return budgets;
}

OracleAnalysis analyse(const ScoreTable& table, const Knapsack& problem,
                       std::span<const double> budgets, const BootstrapOptions& options) {
  OracleAnalysis analysis;
  for (std::size_t d = 0; d < table.depths.size(); ++d) {
    analysis.static_quality.push_back(mean_quality(table, d));
    analysis.static_cost.push_back(mean_cost(table, d));
  }
  analysis.greedy = greedy_oracle(table);
  analysis.budgets = problem.solve(budgets);
  std::vector<double> full;
  for (std::size_t s = 0; s < table.samples(); ++s) {
    full.push_back(table.quality(s, table.depths.size() - 1));
  }
  analysis.match_full = match_model(problem, full, options);
  analysis.length_tests =
      test_lengths(table, problem, analysis.static_cost.back(), analysis.match_full.estimate);
  return analysis;
}

}  // namespace fathom
