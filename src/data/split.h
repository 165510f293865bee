#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "data/examples.h"

namespace fathom {

/// A part of a data set.
enum class Split { train, validation, test };
std::string_view name(Split split);

/// How many of a hundred rows each split gets.
struct SplitShares {
  std::size_t train = 0;
  std::size_t validation = 0;
  std::size_t test = 0;
};

/// Those of [Glavas24 A.2]: 92/4/4 of articles, 70/15/15 of anything else.
SplitShares split_shares(ExampleKind kind);

/// The rows, from 0 and ascending, that a split of `rows` rows has. Rows are drawn without regard
/// to their order, keyed by the seed; each is in one split. Train and validation get their shares
/// rounded, test the rest.
std::vector<std::size_t> rows_of(Split split, std::size_t rows, const SplitShares& shares,
                                 std::uint64_t seed);

}  // namespace fathom
