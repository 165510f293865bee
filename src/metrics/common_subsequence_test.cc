#include "metrics/common_subsequence.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "base/random.h"

namespace fathom {
namespace {

using Sequence = std::vector<std::uint32_t>;

// The textbook's table: [i][j] is the length for the first i of the one and j of the other.
std::vector<std::vector<std::size_t>> table_of(const Sequence& pattern, const Sequence& other) {
  std::vector<std::vector<std::size_t>> table(pattern.size() + 1,
                                              std::vector<std::size_t>(other.size() + 1));
  for (std::size_t i = 1; i <= pattern.size(); ++i) {
    for (std::size_t j = 1; j <= other.size(); ++j) {
      table[i][j] = pattern[i - 1] == other[j - 1] ? table[i - 1][j - 1] + 1
                                                   : std::max(table[i - 1][j], table[i][j - 1]);
    }
  }
  return table;
}

std::vector<std::uint8_t> marks_of(const Sequence& pattern, const Sequence& other) {
  const auto table = table_of(pattern, other);
  std::vector<std::uint8_t> marks(pattern.size());
  std::size_t i = pattern.size();
  std::size_t j = other.size();
  while (i > 0 && j > 0) {
    if (pattern[i - 1] == other[j - 1]) {
      marks[--i] = 1;
      --j;
    } else if (table[i][j - 1] > table[i - 1][j]) {
      --j;
    } else {
      --i;
    }
  }
  return marks;
}

Sequence draw(RandomStream& stream, std::size_t size, std::uint32_t symbols) {
  Sequence sequence(size);
  for (std::uint32_t& symbol : sequence) symbol = static_cast<std::uint32_t>(stream.below(symbols));
  return sequence;
}

TEST(CommonSubsequence, EqualsTheTextbooksTable) {
  RandomStream stream({.seed = 1974});
  for (int round = 0; round < 3000; ++round) {
    const auto symbols = static_cast<std::uint32_t>(1 + stream.below(12));
    const std::size_t most = round % 20 == 0 ? 300 : 70;
    const Sequence pattern = draw(stream, stream.below(most), symbols);
    CommonSubsequence matcher(symbols);
    matcher.set_pattern(pattern);
    for (int k = 0; k < 2; ++k) {
      const Sequence other = draw(stream, stream.below(most), symbols);
      ASSERT_EQ(matcher.length(other), table_of(pattern, other).back().back());
      std::vector<std::uint8_t> marks(pattern.size());
      matcher.mark(other, marks);
      ASSERT_EQ(marks, marks_of(pattern, other));
    }
  }
}

TEST(CommonSubsequence, APatternCanBeReplaced) {
  const Sequence first = {0, 1, 2, 1};
  const Sequence second = {2, 2};
  CommonSubsequence matcher(3);
  matcher.set_pattern(first);
  EXPECT_EQ(matcher.length(second), 1);
  matcher.set_pattern(second);
  EXPECT_EQ(matcher.length(first), 1);
  EXPECT_EQ(matcher.length(second), 2);
}

TEST(CommonSubsequence, MarksOfSeveralOthersAdd) {
  const Sequence pattern = {0, 1, 2, 3, 4};
  CommonSubsequence matcher(10);
  matcher.set_pattern(pattern);
  std::vector<std::uint8_t> marks(pattern.size());
  matcher.mark(Sequence{0, 1, 5}, marks);
  matcher.mark(Sequence{0, 2, 7, 4}, marks);
  EXPECT_EQ(marks, (std::vector<std::uint8_t>{1, 1, 1, 0, 1}));
}

// Memory stays small: a bit a pair of elements would be 1.2 GB.
TEST(CommonSubsequence, TakesLongSequences) {
  Sequence pattern(100'000);
  std::iota(pattern.begin(), pattern.end(), 0U);
  Sequence other = pattern;
  std::reverse(other.begin(), other.begin() + 50'000);
  CommonSubsequence matcher(100'000);
  matcher.set_pattern(pattern);
  std::vector<std::uint8_t> marks(pattern.size());
  matcher.mark(other, marks);
  EXPECT_EQ(matcher.length(other), 50'001);
  EXPECT_EQ(std::accumulate(marks.begin(), marks.end(), std::size_t{0}), 50'001);
}

}  // namespace
}  // namespace fathom
