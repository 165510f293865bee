#include "metrics/mean_error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

namespace fathom {

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

MeanError mean_and_error(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("no values to average");
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  if (!std::isfinite(sum)) throw std::invalid_argument("values and their sum must be finite");
  if (values.size() == 1) return {values.front(), std::numeric_limits<double>::quiet_NaN()};
  if (std::equal(values.begin() + 1, values.end(), values.begin())) return {values.front(), 0};

  // What rounding left out of the mean is seen in the sum of what values differ from it by.
  const auto count = static_cast<double>(values.size());
  double mean = sum / count;
  double left_out = 0;
  for (const double value : values) left_out += value - mean;
  mean += left_out / count;

  // In units of the largest deviation squares neither overflow nor vanish.
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value - mean));
  double squares = 0;
  for (const double value : values) {
    const double deviation = (value - mean) / largest;
    squares += deviation * deviation;
  }
  return {mean, largest * std::sqrt(squares / (count - 1) / count)};
}

}  // namespace fathom
