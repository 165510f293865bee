#include "metrics/summary.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace fathom {

Summary summarize(std::span<const double> values) {
  if (values.empty()) throw std::invalid_argument("no values to summarize");
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  const double median =
      sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return {median, sorted.front(), sorted.back()};
}

}  // namespace fathom
