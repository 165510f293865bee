#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "train/ranks.h"

namespace fathom {

/// A rank's share of the rows of a batch: every so many. Neighbours are of like length, so the
/// ranks' shares take about the same time. It may be empty.
std::vector<std::size_t> row_share(std::span<const std::size_t> rows, const Ranks& ranks);

}  // namespace fathom
