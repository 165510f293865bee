#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "report/report.h"

namespace fathom {

/// Two ways of spending the same number of layers, measured on the same samples.
struct PairedComparison {
  std::string name;                 ///< "final similarity, uniform skipping against early exit"
  std::int32_t cost = 0;            ///< layers run
  std::vector<double> differences;  ///< for each sample; at least one
};

/// The level at which tests decide, and a verdict's chance of a false "holds" or "does not hold".
inline constexpr double significance_level = 0.05;

/// Of a claim that the first way is above the second wherever they are compared. It holds if the
/// mean difference is significantly above `margin` in every comparison, does not hold if it is
/// significantly below in any, and otherwise it cannot be told. Paired t tests on both sides, with
/// Holm's correction over all of them.
Verdict judge_above(std::string claim, std::string source,
                    const std::vector<PairedComparison>& comparisons, double margin);

/// Of a claim that two ways do alike: that the mean difference is within `margin` of 0. It holds if
/// two one-sided tests show that in every comparison, does not hold if the difference is
/// significantly beyond the margin in any; with Holm's correction likewise.
Verdict judge_alike(std::string claim, std::string source,
                    const std::vector<PairedComparison>& comparisons, double margin);

/// Ascending numbers as people write them: "2-9, 12".
std::string ranges(const std::vector<std::int32_t>& numbers);

}  // namespace fathom
