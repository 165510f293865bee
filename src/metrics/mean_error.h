#pragma once

#include <span>

namespace fathom {

/// The sum of values, added in their order, over their number; not a number for none.
double mean_of(std::span<const double> values);

/// A mean and its standard error: the standard deviation (divisor n - 1) over the root of n.
struct MeanError {
  double mean = 0;
  double error = 0;
};

/// Of at least one value; throws std::invalid_argument for none, or if they or their sum are not
/// finite. Of equal values, the mean is exactly that value and the error exactly 0; of values that
/// differ, it is not 0. The error of one value is NaN.
MeanError mean_and_error(std::span<const double> values);

}  // namespace fathom
