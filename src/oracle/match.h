#pragma once

#include <span>

#include "metrics/interval.h"
#include "oracle/knapsack.h"

namespace fathom {

/// The least mean cost with which the mean quality is at least `mean_quality`, to rounding. Throws
/// std::invalid_argument if no choices reach it.
double least_budget_for(const Knapsack& problem, double mean_quality);

/// The least mean cost with which the oracle equals a model, whose quality on each sample is
/// `model_quality`, with an interval over samples: the BCa bootstrap of the linear relaxation's
/// budget, moved by what the exact one exceeds it. More than 20,000 samples are resampled in that
/// many groups. Throws as least_budget_for() does.
Interval match_model(const Knapsack& problem, std::span<const double> model_quality,
                     const BootstrapOptions& options);

}  // namespace fathom
