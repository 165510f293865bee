#pragma once

#include <span>

namespace fathom {

/// What a test tries to show of the differences: that they are centred elsewhere than at zero,
/// above it, or below it.
enum class Alternative { two_sided, greater, less };

struct TestResult {
  double statistic = 0;
  double p_value = 1;
};

// Each test takes the differences between paired measurements, one for each sample. No differences,
// or one that is not finite, throw std::invalid_argument.

/// Student's t test of the mean difference; the statistic is t. Differences that are all equal and
/// not 0 give an infinite t, and p = 0 or 1 as their sign says. p = 1 under every alternative if
/// all are 0 (t = 0), or if there is one only, whose t is not defined (NaN).
TestResult paired_t_test(std::span<const double> differences, Alternative alternative);

/// Wilcoxon's signed-rank test. Differences of 0 are dropped; equal magnitudes share their mean
/// rank. The statistic is W+, the sum of the positive differences' ranks, under every alternative.
/// For up to 50 differences that are left, p is exact: each rank is positive or negative with equal
/// chance, ties or not. For more it is that of the normal distribution, with the variance corrected
/// for ties and without a correction for continuity. A two-sided p is twice the smaller one-sided
/// one, at most 1. Where none are left, W+ = 0 and p = 1.
TestResult wilcoxon_signed_rank(std::span<const double> differences, Alternative alternative);

/// Two one-sided t tests for equivalence [Schuirmann 1987]: the larger of their p-values, small if
/// the mean difference is shown to be inside (-margin, margin). The margin is positive and finite,
/// otherwise throws std::invalid_argument. Equal differences give 0 inside the margin and 1 outside
/// and on it; a single one gives 1.
double paired_tost(std::span<const double> differences, double margin);

}  // namespace fathom
