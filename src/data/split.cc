#include "data/split.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/random.h"

namespace fathom {

std::string_view name(Split split) {
  switch (split) {
    case Split::train:
      return "train";
    case Split::validation:
      return "validation";
    case Split::test:
      break;
  }
  return "test";
}

SplitShares split_shares(ExampleKind kind) {
  if (kind == ExampleKind::article) return {.train = 92, .validation = 4, .test = 4};
  return {.train = 70, .validation = 15, .test = 15};
}

std::vector<std::size_t> rows_of(Split split, std::size_t rows, const SplitShares& shares,
                                 std::uint64_t seed) {
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  RandomStream stream({.seed = seed, .purpose = RandomPurpose::split});
  for (std::size_t left = rows; left > 1; --left) {
    std::swap(order[left - 1], order[stream.below(left)]);
  }
  const auto rounded = [&](std::size_t share) { return (rows * share + 50) / 100; };
  const std::size_t train = rounded(shares.train);
  const std::size_t test = std::min(rows, train + rounded(shares.validation));
  std::size_t begin = 0;
  std::size_t end = train;
  if (split == Split::validation) begin = std::exchange(end, test);
  if (split == Split::test) {
    begin = test;
    end = rows;
  }
  std::vector<std::size_t> part(order.begin() + static_cast<std::ptrdiff_t>(begin),
                                order.begin() + static_cast<std::ptrdiff_t>(end));
  std::sort(part.begin(), part.end());
  return part;
}

}  // namespace fathom
