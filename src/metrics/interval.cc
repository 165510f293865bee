#include "metrics/interval.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <vector>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

#include "base/random.h"
#include "metrics/mean_error.h"

namespace fathom {
namespace {

Interval no_interval(double estimate) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  return {estimate, nan, nan};
}

// What lies beyond either end of an interval.
double tail_of(double level) {
  if (!(level > 0 && level < 1)) throw std::invalid_argument("a level must be in (0, 1)");
  return (1 - level) / 2;
}

// A sixth of the skewness of the estimate, from the jackknife's influence values [Efron 1987].
double jackknife_acceleration(std::span<const double> leave_one_out) {
  const double mean = mean_and_error(leave_one_out).mean;
  double largest = 0;
  for (const double value : leave_one_out) largest = std::max(largest, std::abs(mean - value));
  if (largest == 0) return 0;
  double squares = 0;
  double cubes = 0;
  for (const double value : leave_one_out) {
    const double influence = (mean - value) / largest;  // the unit cancels
    squares += influence * influence;
    cubes += influence * influence * influence;
  }
  return cubes / (6 * squares * std::sqrt(squares));
}

double quantile_of_sorted(std::span<const double> sorted, double proportion) {
  const double rank = proportion * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(rank);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return std::lerp(sorted[low], sorted[high], rank - std::floor(rank));
}

}  // namespace

Interval t_interval(std::span<const double> values, double level) {
  const double tail = tail_of(level);
  const MeanError sample = mean_and_error(values);
  if (values.size() == 1) return no_interval(sample.mean);
  const boost::math::students_t distribution(static_cast<double>(values.size() - 1));
  const double half = quantile(complement(distribution, tail)) * sample.error;
  return {sample.mean, sample.mean - half, sample.mean + half};
}

Interval share_interval(std::uint64_t count, std::uint64_t n, double level) {
  if (n == 0 || count > n) throw std::invalid_argument("a share is of 0 to n in n");
  const double z = quantile(complement(boost::math::normal(), tail_of(level)));
  const auto size = static_cast<double>(n);
  const double share = static_cast<double>(count) / size;
  const double weight = z * z / size;
  const double center = (share + weight / 2) / (1 + weight);
  const double half =
      z / (1 + weight) * std::sqrt(share * (1 - share) / size + weight / (4 * size));
  return {share, std::max(0.0, center - half), std::min(1.0, center + half)};
}

Interval bootstrap_interval(std::span<const double> values, const Statistic& statistic,
                            const BootstrapOptions& options) {
  tail_of(options.level);
  if (values.empty()) throw std::invalid_argument("no values to resample");
  if (options.resamples == 0) throw std::invalid_argument("no resamples to draw");
  const double estimate = statistic(values);
  if (values.size() == 1) return no_interval(estimate);

  std::vector<double> replicates(options.resamples);
  std::vector<double> sample(values.size());
  for (std::uint32_t i = 0; i < options.resamples; ++i) {
    RandomStream stream({.seed = options.seed, .purpose = RandomPurpose::resample, .position = i});
    for (double& value : sample) value = values[stream.below(values.size())];
    replicates[i] = statistic(sample);
  }

  // The sample without value i is made from the one without value i - 1.
  std::vector<double> leave_one_out(values.size());
  sample.assign(values.begin() + 1, values.end());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) sample[i - 1] = values[i - 1];
    leave_one_out[i] = statistic(sample);
  }
  return bca_interval(estimate, replicates, leave_one_out, options.level);
}

Interval bca_interval(double estimate, std::span<const double> replicates,
                      std::span<const double> leave_one_out, double level) {
  const double tail = tail_of(level);
  if (replicates.empty()) throw std::invalid_argument("no replicates");
  const auto is_finite = [](double value) { return std::isfinite(value); };
  if (!is_finite(estimate) || !std::all_of(replicates.begin(), replicates.end(), is_finite)) {
    throw std::invalid_argument("a statistic must be finite on the data and on every resample");
  }
  std::vector<double> sorted(replicates.begin(), replicates.end());
  std::sort(sorted.begin(), sorted.end());
  const auto [first_equal, first_above] = std::equal_range(sorted.begin(), sorted.end(), estimate);
  const auto below = static_cast<double>(first_equal - sorted.begin());
  const auto not_above = static_cast<double>(first_above - sorted.begin());
  const double proportion = (below + not_above) / 2 / static_cast<double>(sorted.size());
  if (proportion <= 0 || proportion >= 1) return no_interval(estimate);

  const boost::math::normal normal;
  const double bias = quantile(normal, proportion);
  const double acceleration = jackknife_acceleration(leave_one_out);
  const auto end = [&](double z) {
    const double shifted = bias + z;
    const double scale = 1 - acceleration * shifted;
    // The proportion tends to 0 or 1 as the scale tends to 0, and stays there.
    if (scale <= 0) return shifted < 0 ? sorted.front() : sorted.back();
    return quantile_of_sorted(sorted, cdf(normal, bias + shifted / scale));
  };
  const double z = quantile(complement(normal, tail));
  return {estimate, end(-z), end(z)};
}

}  // namespace fathom
