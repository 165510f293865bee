#include "text/bpe.h"

#include <map>
#include <random>
#include <utility>

#include <gmock/gmock.h>

namespace fathom {
namespace {

using Merges = std::map<std::pair<TokenId, TokenId>, MergeTable::Merge>;

/// The definition: join the leftmost pair of the lowest rank until there is none.
std::vector<TokenId> merged_naively(const Merges& merges, std::vector<TokenId> symbols) {
  for (;;) {
    std::optional<MergeTable::Merge> best;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = merges.find({symbols[i], symbols[i + 1]});
      if (found != merges.end() && (!best || found->second.rank < best->rank)) {
        best = found->second;
        at = i;
      }
    }
    if (!best) return symbols;
    symbols[at] = best->merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

/// Merges over 4 letters, as training would make them: every token is another string.
Merges random_merges(std::mt19937& random) {
  Merges merges;
  std::map<std::string, TokenId> ids = {
      {"a", TokenId(0)}, {"b", TokenId(1)}, {"c", TokenId(2)}, {"d", TokenId(3)}};
  std::vector<std::string> texts = {"a", "b", "c", "d"};
  for (std::uint32_t rank = 0; rank < 60; ++rank) {
    const std::string& left = texts[random() % texts.size()];
    const std::string& right = texts[random() % texts.size()];
    const std::string joined = left + right;
    const auto [at, is_new] = ids.try_emplace(joined, static_cast<std::int32_t>(texts.size()));
    merges[{ids[left], ids[right]}] = {rank, at->second};
    if (is_new) texts.push_back(joined);
  }
  return merges;
}

TEST(PairMerger, GivesWhatTheDefinitionGives) {
  std::mt19937 random(7);
  PairMerger merger;
  for (int round = 0; round < 300; ++round) {
    const Merges merges = random_merges(random);
    MergeTable table(round % 2 == 0 ? merges.size() : 0);
    for (const auto& [pair, merge] : merges) table.add(pair.first, pair.second, merge);
    for (const std::size_t length : {0U, 1U, 2U, 7U, 31U, 32U, 33U, 200U}) {
      std::vector<TokenId> symbols;
      for (std::size_t i = 0; i < length; ++i) {
        symbols.emplace_back(static_cast<std::int32_t>(random() % (round % 4 + 1)));
      }
      const std::vector<TokenId> expected = merged_naively(merges, symbols);
      merger.merge(table, symbols);
      ASSERT_EQ(symbols, expected);
    }
  }
}

TEST(MergeTable, HoldsWhatWasAddedLast) {
  MergeTable table(0);
  std::mt19937 random(8);
  Merges expected;
  for (std::uint32_t rank = 0; rank < 20000; ++rank) {
    const TokenId left(static_cast<std::int32_t>(random() % 200));
    const TokenId right(static_cast<std::int32_t>(random() % 200));
    const MergeTable::Merge merge{rank, TokenId(static_cast<std::int32_t>(random() % 1000))};
    table.add(left, right, merge);
    expected[{left, right}] = merge;
  }
  for (std::int32_t left = 0; left < 201; ++left) {
    for (std::int32_t right = 0; right < 201; ++right) {
      const auto found = table.find(TokenId(left), TokenId(right));
      const auto at = expected.find({TokenId(left), TokenId(right)});
      ASSERT_EQ(found.has_value(), at != expected.end());
      if (!found) continue;
      ASSERT_EQ(found->rank, at->second.rank);
      ASSERT_EQ(found->merged, at->second.merged);
    }
  }
}

TEST(Joints, HoldsWhatWasAdded) {
  Joints joints;
  EXPECT_FALSE(joints.contains(U'a', U'b'));
  for (char32_t c = 0; c < 3000; ++c) joints.add(c, 0x10FFFF - c);
  for (char32_t c = 0; c < 3000; ++c) {
    EXPECT_TRUE(joints.contains(c, 0x10FFFF - c));
    EXPECT_FALSE(joints.contains(0x10FFFF - c, c));
    EXPECT_FALSE(joints.contains(c, 0x10FFFE - c));
  }
}

}  // namespace
}  // namespace fathom
