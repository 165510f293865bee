#include "base/random.h"

#include <array>
#include <set>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Random, PhiloxMatchesItsPublishedVectors) {
  // Known answers of the Random123 distribution for philox4x32-10.
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Random, EveryPartOfTheKeyMatters) {
  std::set<std::uint64_t> firsts;
  int keys = 0;
  for (std::uint64_t seed : {0, 1}) {
    for (auto purpose : {RandomPurpose::route, RandomPurpose::token, RandomPurpose::gate}) {
      for (std::uint64_t sequence : {0, 1, 2}) {
        for (std::uint32_t position : {0, 1}) {
          for (std::uint32_t layer : {0, 1}) {
            firsts.insert(RandomStream({seed, purpose, sequence, position, layer}).next());
            ++keys;
          }
        }
      }
    }
  }
  EXPECT_EQ(firsts.size(), static_cast<std::size_t>(keys));
}

TEST(Random, BelowIsEven) {
  RandomStream stream({.seed = 7});
  std::array<int, 10> counts{};
  constexpr int draws = 100000;
  for (int i = 0; i < draws; ++i) ++counts[stream.below(10)];
  // Five standard deviations of a count are about 474.
  for (const int count : counts) EXPECT_NEAR(count, draws / 10.0, 475);
}

TEST(Random, UniformStaysInItsRange) {
  RandomStream stream({.seed = 9});
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double u = stream.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.005);
}

TEST(Random, SequenceKeysDiffer) { EXPECT_NE(sequence_key("a"), sequence_key("b")); }

}  // namespace
}  // namespace fathom
