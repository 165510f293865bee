#include "metrics/chi_squared.h"

#include <algorithm>
#include <stdexcept>

#include <boost/math/distributions/chi_squared.hpp>

namespace fathom {

ChiSquaredResult chi_squared_homogeneity(std::span<const std::vector<std::uint64_t>> table) {
  const std::size_t columns = table.empty() ? 0 : table.front().size();
  std::vector<double> row_sums;
  std::vector<double> column_sums(columns);
  double total = 0;
  for (const std::vector<std::uint64_t>& row : table) {
    if (row.size() != columns) throw std::invalid_argument("rows of unequal length");
    row_sums.push_back(0);
    for (std::size_t c = 0; c < columns; ++c) {
      const auto count = static_cast<double>(row[c]);
      row_sums.back() += count;
      column_sums[c] += count;
      total += count;
    }
  }
  const auto used = [](const std::vector<double>& sums) {
    return static_cast<std::size_t>(sums.size()) -
           static_cast<std::size_t>(std::count(sums.begin(), sums.end(), 0.0));
  };
  const std::size_t used_rows = used(row_sums);
  const std::size_t used_columns = used(column_sums);
  if (used_rows < 2 || used_columns < 2) return {};

  ChiSquaredResult result{.degrees_of_freedom = (used_rows - 1) * (used_columns - 1)};
  for (std::size_t r = 0; r < table.size(); ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      const double expected = row_sums[r] * column_sums[c] / total;
      if (expected == 0) continue;
      const double difference = static_cast<double>(table[r][c]) - expected;
      result.statistic += difference * difference / expected;
    }
  }
  const boost::math::chi_squared distribution(static_cast<double>(result.degrees_of_freedom));
  result.p_value = cdf(complement(distribution, result.statistic));
  return result;
}

}  // namespace fathom
