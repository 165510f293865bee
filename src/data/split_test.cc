#include "data/split.h"

#include <algorithm>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::size_t> part(Split split, std::size_t rows, ExampleKind kind, std::uint64_t seed) {
  return rows_of(split, rows, split_shares(kind), seed);
}

TEST(Split, HasThePapersShares) {
  using enum ExampleKind;
  EXPECT_EQ(part(Split::train, 52000, alpaca, 0).size(), 36400U);
  EXPECT_EQ(part(Split::validation, 52000, alpaca, 0).size(), 7800U);
  EXPECT_EQ(part(Split::test, 52000, alpaca, 0).size(), 7800U);
  EXPECT_EQ(part(Split::train, 1000, article, 0).size(), 920U);
  EXPECT_EQ(part(Split::validation, 1000, article, 0).size(), 40U);
  EXPECT_EQ(part(Split::test, 1000, article, 0).size(), 40U);
}

TEST(Split, EachRowIsInOne) {
  for (const std::size_t rows : {0U, 1U, 2U, 3U, 10U, 97U, 1003U}) {
    for (const ExampleKind kind : {ExampleKind::plain, ExampleKind::article}) {
      std::vector<std::size_t> all;
      for (const Split split : {Split::train, Split::validation, Split::test}) {
        const auto some = part(split, rows, kind, 5);
        EXPECT_TRUE(std::is_sorted(some.begin(), some.end()));
        all.insert(all.end(), some.begin(), some.end());
      }
      std::sort(all.begin(), all.end());
      ASSERT_EQ(all.size(), rows);
      for (std::size_t i = 0; i < rows; ++i) EXPECT_EQ(all[i], i);
    }
  }
}

TEST(Split, DependsOnTheSeedAndNotOnTheOrder) {
  const auto one = part(Split::test, 1000, ExampleKind::alpaca, 1);
  EXPECT_EQ(part(Split::test, 1000, ExampleKind::alpaca, 1), one);
  const auto other = part(Split::test, 1000, ExampleKind::alpaca, 2);
  std::vector<std::size_t> both;
  std::set_intersection(one.begin(), one.end(), other.begin(), other.end(),
                        std::back_inserter(both));
  EXPECT_LT(both.size(), 50U);  // 22.5 are expected
  // As many of the first half as of the second, give or take: 75 are expected.
  const auto first_half = std::lower_bound(one.begin(), one.end(), 500U) - one.begin();
  EXPECT_GT(first_half, 45);
  EXPECT_LT(first_half, 105);
}

// A split must not change from version to version: this pins it.
TEST(Split, StaysWhatItIs) {
  EXPECT_THAT(part(Split::test, 20, ExampleKind::alpaca, 0), ElementsAre(1, 2, 10));
  EXPECT_THAT(part(Split::test, 1, ExampleKind::alpaca, 0), IsEmpty());
}

}  // namespace
}  // namespace fathom
