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
/// several noisy scores [Glavas24 A.5.1].
struct SamplingAdvantage {
  double gain = 0;      ///< the oracle's, scored on what it chose by
  Interval allocation;  ///< the part that is no luck, with a t interval over samples
  double sampling = 0;  ///< the rest
};

/// Estimated by splitting two independent draws of every score, with equal costs: the oracle
/// chooses, and the mixture is chosen, on one and both are scored on the other; then the other way
/// round, and the mean is taken. Gains are over static_mixture() at the same budget. Without bias:
/// given what was chosen, the other draw is as it would be anyway. Throws std::invalid_argument if
/// the tables are of different size, and as Knapsack does.
SamplingAdvantage split_advantage(const ChoiceTable& first, const ChoiceTable& second,
                                  double budget, double level = 0.95);

/// Samples of like mean score that permuted_advantage() puts together, at least.
inline constexpr std::size_t permuted_group = 20;

/// Estimated from one draw: every sample gets the choice of another one of like mean score (over
/// all its choices), instead of that of any other sample; the means over all ways to do so. Gains
/// are over the latter, which costs the same. It is the part of the gain that the mean score
/// explains, and no luck as long as luck is alike at all choices: what samples gain beyond their
/// mean score is counted as luck, and luck that is greater at some choices as allocation. Fewer
/// than twice permuted_group samples are one group, which gives 0. Throws std::invalid_argument as
/// Knapsack does.
SamplingAdvantage permuted_advantage(const ChoiceTable& table, double budget, double level = 0.95);

}  // namespace fathom
