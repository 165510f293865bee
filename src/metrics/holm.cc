#include "metrics/holm.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <stdexcept>

namespace fathom {

std::vector<double> holm(std::span<const double> p_values) {
  for (const double p : p_values) {
    if (!(p >= 0 && p <= 1)) throw std::invalid_argument("a p-value must be in [0, 1]");
  }
  std::vector<std::size_t> ascending(p_values.size());
  std::iota(ascending.begin(), ascending.end(), std::size_t{0});
  std::sort(ascending.begin(), ascending.end(),
            [&](std::size_t i, std::size_t j) { return p_values[i] < p_values[j]; });
  std::vector<double> adjusted(p_values.size());
  double largest = 0;
  std::size_t left = p_values.size();
  for (const std::size_t i : ascending) {
    // A hypothesis is not rejected before one with a smaller p-value.
    largest = std::max(largest, std::min(1.0, static_cast<double>(left--) * p_values[i]));
    adjusted[i] = largest;
  }
  return adjusted;
}

}  // namespace fathom
