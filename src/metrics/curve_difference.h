#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

/// A curve of mean quality against mean cost, of which each point was measured on the same rows.
struct CostCurve {
  /// By point, then by row. A point's cost is the sum of `cost` over the sum of `weight`, as layers
  /// a token are; its quality is the mean. A row may have a weight of 0, not all of them.
  std::vector<std::vector<double>> quality, cost, weight;
};

struct CurveDifferenceOptions {
  double margin = 0.01;   ///< within which two qualities are equivalent
  std::size_t costs = 5;  ///< compared at so many, evenly over what both curves reach
  std::uint32_t resamples = 9999;
  std::uint64_t seed = 0;
};

/// How two curves differ at one cost.
struct CurveDifference {
  double cost = 0;
  double estimate = 0;       ///< of the first curve's quality less the second's
  double low = 0, high = 0;  ///< 95% percentile interval
  double p_greater = 1;      ///< one-sided: that it is above 0
  double p_less = 1;         ///< one-sided: that it is below 0
  /// Two one-sided tests [Schuirmann 1987]: small if it is shown to be within the margin.
  double p_equivalent = 1;
};

/// Compares two curves at equal costs, where both reach, by linear interpolation between their
/// points. Tests are by the bootstrap over rows, which are drawn jointly for all points of both
/// curves; where a resampled curve does not reach a cost, its nearest end counts. Gives nothing if
/// the curves have no cost in common. Throws std::invalid_argument if there are no rows, a curve
/// has no point, points have different numbers of rows, or a number is not finite.
std::vector<CurveDifference> compare_curves(const CostCurve& first, const CostCurve& second,
                                            const CurveDifferenceOptions& options);

}  // namespace fathom
