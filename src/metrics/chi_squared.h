#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

struct ChiSquaredResult {
  double statistic = 0;
  std::size_t degrees_of_freedom = 0;
  double p_value = 1;
};

/// Pearson's chi-squared test that the rows of a table of counts are samples of one distribution
/// over its columns, without Yates's correction. Rows and columns that hold no count are left out.
/// A table of fewer than two rows or columns then has nothing to compare: statistic 0, no degrees
/// of freedom, p = 1. Throws std::invalid_argument unless all rows have the same number of columns.
ChiSquaredResult chi_squared_homogeneity(std::span<const std::vector<std::uint64_t>> table);

}  // namespace fathom
