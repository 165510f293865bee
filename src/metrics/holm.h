#pragma once

#include <span>
#include <vector>

namespace fathom {

/// Holm's adjustment for testing several hypotheses at once [Holm 1979], in the order of the
/// p-values given: rejecting those whose adjusted p-value is at most alpha keeps the chance of any
/// false rejection at most alpha, however the tests depend on each other. Throws
/// std::invalid_argument if a p-value is not in [0, 1].
std::vector<double> holm(std::span<const double> p_values);

}  // namespace fathom
