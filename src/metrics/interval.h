#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace fathom {

/// An estimate with its confidence interval. `low` and `high` are NaN where the data do not allow
/// one.
struct Interval {
  double estimate = 0;
  double low = 0;
  double high = 0;
};

// Levels of confidence are in (0, 1). Another level, no values, or numbers that are not finite
// throw std::invalid_argument.

/// The mean with Student's t interval. One value has no interval. Equal values have the interval
/// that is that value.
Interval t_interval(std::span<const double> values, double level = 0.95);

/// A share, of `count` in `n` (at least 1), with Wilson's score interval [Wilson 1927]. Unlike that
/// of a mean it has a width where the count is 0 or n. Throws std::invalid_argument also if the
/// count is above n.
Interval share_interval(std::uint64_t count, std::uint64_t n, double level = 0.95);

/// A number computed from a sample of at least one value, in any order.
using Statistic = std::function<double(std::span<const double>)>;

struct BootstrapOptions {
  std::uint64_t seed = 0;
  std::uint32_t resamples = 9999;  ///< at least 1
  double level = 0.95;
};

/// A statistic with its bias-corrected and accelerated bootstrap interval (BCa) [Efron 1987]: the
/// bca_interval of as many resamples as asked for, each of as many values as there are, drawn with
/// replacement. The draws depend on the seed, the resample and the number of values alone, so
/// samples of one length are resampled alike. One value has no interval. Equal values, or a
/// statistic that is the same on every resample, have the interval that is the estimate: that the
/// bootstrap sees no variation does not say that there is none. Throws std::invalid_argument also
/// if the statistic is not finite on a resample or without one of the values.
Interval bootstrap_interval(std::span<const double> values, const Statistic& statistic,
                            const BootstrapOptions& options);

/// The BCa interval from what a bootstrap computed: the statistic of the data, of resamples of it
/// (replicates, at least one), and of the data without each one value. Ends are quantiles of the
/// replicates, interpolated between neighbours. A replicate equal to the estimate counts half for
/// the bias correction. There is no interval if all replicates are below the estimate or all are
/// above. The acceleration is 0 if the values of leave_one_out are equal.
Interval bca_interval(double estimate, std::span<const double> replicates,
                      std::span<const double> leave_one_out, double level = 0.95);

}  // namespace fathom
