#pragma once

#include <span>

namespace fathom {

/// What to report of repeated measurements.
struct Summary {
  double median = 0;
  double minimum = 0;
  double maximum = 0;
};

/// Of at least one value; throws std::invalid_argument for none. The median of an even number is
/// the mean of the middle two.
Summary summarize(std::span<const double> values);

}  // namespace fathom
