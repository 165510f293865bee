#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "oracle/knapsack.h"

namespace fathom {

/// The optimum of the knapsack problem for every budget at once: a step function.
struct BudgetCurve {
  double least_total = 0;  ///< the total cost of all samples' cheapest choices
  double unit = 0;         ///< total costs differ by multiples of it
  /// total_quality[i] is the largest total quality of choices whose total cost is at most
  /// least_total + i unit. It never falls, and from its end on it stays the same.
  std::vector<double> total_quality;
};

/// The curve, by joining halves: the best split of a budget between two halves of the samples is
/// near the one of their linear relaxations, and the search for it ends where the relaxations
/// cannot exceed what was found. Time is about (budgets) x log(samples). Nullopt if costs are no
/// integers, or if there are more than 2^24 budgets or steps of more than 64 units, for which
/// Knapsack::solve() answers budget by budget.
std::optional<BudgetCurve> budget_curve(const Knapsack& problem);

}  // namespace fathom
