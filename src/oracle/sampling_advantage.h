#pragma once

#include <vector>

#include "metrics/interval.h"
#include "oracle/knapsack.h"

namespace fathom {

/// By choice: the shares with which samples that nobody has looked at are best given their choices
/// under a mean cost: of two choices on the upper concave hull of the mean qualities. The cheapest
/// alone if the budget is below its mean cost.
std::vector<double> static_mixture(const ChoiceTable& table, double budget);

/// What of the oracle's gain is due to choosing by the sample, and what to choosing the luckier of
/// several noisy scores [Glavas24 A.5.1]. Gains are over static_mixture() at the same budget.
struct SamplingAdvantage {
  double gain = 0;      ///< the oracle's, scored on what it chose by
  Interval allocation;  ///< the part that holds on other draws, with a t interval over samples
  double sampling = 0;  ///< the rest
};

/// Estimated by splitting two independent draws of every score, with equal costs: the oracle
/// chooses, and the mixture is chosen, on one and both are scored on the other; then the other way
/// round, and the mean is taken. Without bias: given what was chosen, the other draw is as it would
/// be anyway. Throws std::invalid_argument if the tables are of different size, and as Knapsack
/// does.
SamplingAdvantage split_advantage(const ChoiceTable& first, const ChoiceTable& second,
                                  double budget, double level = 0.95);

}  // namespace fathom
