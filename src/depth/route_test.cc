#include "depth/route.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fathom {
namespace {

std::vector<int> numbers(const Route& route) {
  std::vector<int> result;
  for (std::int32_t l = 0; l < route.depth(); ++l) {
    if (route.runs(LayerIndex{l})) result.push_back(l + 1);
  }
  return result;
}

TEST(Route, UniformFollowsThePapersRecursion) {
  // [Glavas24 eq. 2] as written there, in rational arithmetic: U(1,c) = 1, and U(l,c) = 1 exactly
  // if the sum of U(k,c) over k < l is at most (l-1) * c / L.
  for (int depth = 1; depth <= 64; ++depth) {
    for (int cost = 1; cost <= depth; ++cost) {
      std::vector<int> u(static_cast<std::size_t>(depth) + 1, 0);
      for (int l = 1; l <= depth; ++l) {
        int sum = 0;
        for (int k = 1; k < l; ++k) sum += u[static_cast<std::size_t>(k)];
        u[static_cast<std::size_t>(l)] = l == 1 || sum * depth <= (l - 1) * cost ? 1 : 0;
      }
      const Route route = Route::uniform(cost, depth);
      for (int l = 1; l <= depth; ++l) {
        ASSERT_EQ(route.runs(LayerIndex{l - 1}), u[static_cast<std::size_t>(l)] == 1)
            << "L=" << depth << " c=" << cost << " l=" << l;
      }
      ASSERT_EQ(route.cost(), cost) << "L=" << depth;
      if (cost < depth) {
        ASSERT_FALSE(route.runs(LayerIndex{1})) << "L=" << depth << " c=" << cost;
      }
    }
  }
}

TEST(Route, UniformGivesThePapersExamples) {
  EXPECT_EQ(Route::uniform(12, 24).to_string(), "1,3,5,7,9,11,13,15,17,19,21,23");
  EXPECT_EQ(Route::uniform(8, 24).to_string(), "1,4,7,10,13,16,19,22");
  EXPECT_EQ(Route::uniform(4, 24).to_string(), "1,7,13,19");
}

TEST(Route, BlockLeavesOutOneBlockInTheMiddle) {
  EXPECT_EQ(Route::block(4, 10).to_string(), "1-2,9-10");
  EXPECT_EQ(Route::block(5, 10).to_string(), "1-3,9-10");
  EXPECT_EQ(Route::block(1, 10).to_string(), "1");
  for (int depth = 1; depth <= 64; ++depth) {
    EXPECT_EQ(Route::block(depth, depth), Route::full(depth));
    for (int cost = 1; cost <= depth; ++cost) {
      EXPECT_EQ(Route::block(cost, depth).cost(), cost);
      EXPECT_TRUE(Route::block(cost, depth).runs(LayerIndex{0}));
    }
  }
  EXPECT_THROW(Route::block(0, 10), InputError);
  EXPECT_THROW(Route::block(11, 10), InputError);
}

TEST(Route, FirstIsEarlyExit) {
  EXPECT_EQ(Route::first(3, 5).to_string(), "1-3");
  EXPECT_EQ(Route::full(5), Route::first(5, 5));
}

TEST(Route, RandomRunsLayerOneAndItsCost) {
  std::vector<int> counts(13, 0);
  constexpr int sequences = 4000;
  for (std::uint64_t sequence = 0; sequence < sequences; ++sequence) {
    const Route route = Route::random(5, 12, 3, sequence);
    EXPECT_EQ(route.cost(), 5);
    EXPECT_TRUE(route.runs(LayerIndex{0}));
    for (const int l : numbers(route)) ++counts[static_cast<std::size_t>(l)];
  }
  // Each other layer runs with probability 4/11; five standard deviations are about 152.
  for (std::size_t l = 2; l <= 12; ++l) EXPECT_NEAR(counts[l], sequences * 4.0 / 11, 152);
}

TEST(Route, RandomFreeMaySkipLayerOne) {
  int first = 0;
  constexpr int sequences = 4000;
  for (std::uint64_t sequence = 0; sequence < sequences; ++sequence) {
    const Route route = Route::random_free(3, 12, 3, sequence);
    EXPECT_EQ(route.cost(), 3);
    first += route.runs(LayerIndex{0}) ? 1 : 0;
  }
  EXPECT_NEAR(first, sequences / 4.0, 137);
}

TEST(Route, RandomIsKeyedBySeedAndSequence) {
  EXPECT_EQ(Route::random(8, 30, 1, 2), Route::random(8, 30, 1, 2));
  std::set<std::string> routes;
  for (std::uint64_t i = 0; i < 10; ++i) {
    routes.insert(Route::random(8, 30, 1, i).to_string());
    routes.insert(Route::random(8, 30, i + 2, 1).to_string());
  }
  EXPECT_EQ(routes.size(), 20U);
}

TEST(Route, RefusesWhatIsOutOfRange) {
  EXPECT_THROW(Route::first(0, 30), InputError);
  EXPECT_THROW(Route::uniform(31, 30), InputError);
  EXPECT_THROW(Route::random(-1, 30, 0, 0), InputError);
  EXPECT_THROW(Route::of(std::vector{LayerIndex{30}}, 30), InputError);
  EXPECT_THROW(Route::of({}, 30), InputError);
}

}  // namespace
}  // namespace fathom
