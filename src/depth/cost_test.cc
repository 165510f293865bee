#include "depth/cost.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Cost, BytesAreTheHeadAndTheLayersThatRun) {
  const TokenBytes bytes{.head = 1000, .layers = {10, 20, 30, 40}, .cache_per_position = 2};
  EXPECT_EQ(bytes.of(Route::full(4), 0), 1100U);
  EXPECT_EQ(bytes.of(Route::full(4), 5), 1140U);
  // uniform:2 of 4 runs layers 1 and 3.
  EXPECT_EQ(bytes.of(Route::uniform(2, 4), 5), 1060U);
  EXPECT_DOUBLE_EQ(speedup_ceiling(bytes, Route::first(1, 4), 0), 1100.0 / 1010);
  EXPECT_DOUBLE_EQ(speedup_ceiling(bytes, Route::full(4), 7), 1.0);
}

TEST(Cost, AnAdapterCountsWhereItActs) {
  TokenBytes bytes{.head = 1000, .layers = {10, 20, 30, 40}, .adapter = {1, 2, 3, 4}};
  EXPECT_EQ(bytes.of(Route::full(4), 0), 1110U);
  EXPECT_EQ(bytes.of(Route::uniform(2, 4), 0), 1044U);
  bytes.adapter_at_full_depth = false;
  EXPECT_EQ(bytes.of(Route::full(4), 0), 1100U);
  EXPECT_EQ(bytes.of(Route::uniform(2, 4), 0), 1044U);
}

}  // namespace
}  // namespace fathom
