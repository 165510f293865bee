#include "metrics/paired_tests.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

#include "metrics/mean_error.h"

namespace fathom {
namespace {

// Counts of sign patterns stay integers that a double holds.
constexpr std::size_t largest_exact = 50;

// `lower` and `upper` are the chances of a statistic this small and this large.
double p_value(double lower, double upper, Alternative alternative) {
  switch (alternative) {
    case Alternative::greater:
      return upper;
    case Alternative::less:
      return lower;
    case Alternative::two_sided:
      break;
  }
  return std::min(1.0, 2 * std::min(lower, upper));
}

// Student's t test that the mean is elsewhere than at `center`.
TestResult t_test(std::span<const double> values, double center, Alternative alternative) {
  const MeanError sample = mean_and_error(values);
  if (values.size() == 1) return {std::numeric_limits<double>::quiet_NaN(), 1};
  const double distance = sample.mean - center;
  if (distance == 0 && sample.error == 0) return {0, 1};
  const double t = distance / sample.error;
  const boost::math::students_t distribution(static_cast<double>(values.size() - 1));
  return {t, p_value(cdf(distribution, t), cdf(complement(distribution, t)), alternative)};
}

// Ranks of magnitudes, doubled, so that mean ranks of ties are integers too.
struct SignedRanks {
  std::vector<std::size_t> doubled;  // ascending
  std::size_t doubled_positive = 0;  // the sum over the positive values
  double ties = 0;                   // the sum of t^3 - t over groups of t equal magnitudes
};

SignedRanks signed_ranks(std::span<const double> values) {
  std::vector<double> sorted;
  for (const double value : values) {
    if (!std::isfinite(value)) throw std::invalid_argument("differences must be finite");
    if (value != 0) sorted.push_back(value);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](double x, double y) { return std::abs(x) < std::abs(y); });
  SignedRanks ranks;
  for (std::size_t first = 0; first < sorted.size();) {
    std::size_t end = first;
    std::size_t positive = 0;
    for (; end < sorted.size() && std::abs(sorted[end]) == std::abs(sorted[first]); ++end) {
      positive += sorted[end] > 0 ? 1 : 0;
    }
    const std::size_t rank = first + 1 + end;  // first and last of the group, counted from 1
    ranks.doubled.insert(ranks.doubled.end(), end - first, rank);
    ranks.doubled_positive += positive * rank;
    const auto group = static_cast<double>(end - first);
    ranks.ties += group * group * group - group;
    first = end;
  }
  return ranks;
}

double exact_p_value(const SignedRanks& ranks, Alternative alternative) {
  const std::size_t most =
      std::accumulate(ranks.doubled.begin(), ranks.doubled.end(), std::size_t{0});
  // ways[w]: the sign patterns under which the doubled positive ranks sum to w.
  std::vector<std::uint64_t> ways(most + 1);
  ways[0] = 1;
  for (const std::size_t rank : ranks.doubled) {
    for (std::size_t w = most; w >= rank; --w) ways[w] += ways[w - rank];
  }
  const auto here = ways.begin() + static_cast<std::ptrdiff_t>(ranks.doubled_positive);
  const auto share = [&](auto from, auto to) {
    const auto count = static_cast<double>(std::accumulate(from, to, std::uint64_t{0}));
    return std::ldexp(count, -static_cast<int>(ranks.doubled.size()));
  };
  return p_value(share(ways.begin(), here + 1), share(here, ways.end()), alternative);
}

double normal_p_value(const SignedRanks& ranks, Alternative alternative) {
  const auto n = static_cast<double>(ranks.doubled.size());
  const double mean = n * (n + 1) / 4;
  const double variance = (n * (n + 1) * (2 * n + 1) - ranks.ties / 2) / 24;
  const double z = (static_cast<double>(ranks.doubled_positive) / 2 - mean) / std::sqrt(variance);
  const boost::math::normal normal;
  return p_value(cdf(normal, z), cdf(complement(normal, z)), alternative);
}

}  // namespace

TestResult paired_t_test(std::span<const double> differences, Alternative alternative) {
  return t_test(differences, 0, alternative);
}

TestResult wilcoxon_signed_rank(std::span<const double> differences, Alternative alternative) {
  if (differences.empty()) throw std::invalid_argument("no differences to test");
  const SignedRanks ranks = signed_ranks(differences);
  const double p = ranks.doubled.size() <= largest_exact ? exact_p_value(ranks, alternative)
                                                         : normal_p_value(ranks, alternative);
  return {static_cast<double>(ranks.doubled_positive) / 2, p};
}

double paired_tost(std::span<const double> differences, double margin) {
  if (!(margin > 0 && std::isfinite(margin))) {
    throw std::invalid_argument("a margin must be positive and finite");
  }
  return std::max(t_test(differences, -margin, Alternative::greater).p_value,
                  t_test(differences, margin, Alternative::less).p_value);
}

}  // namespace fathom
