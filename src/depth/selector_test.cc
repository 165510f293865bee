#include "depth/selector.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

std::vector<std::size_t> selected(const Selector& selector, std::int32_t layer,
                                  std::span<const float> margins) {
  std::vector<std::size_t> running;
  selector.select(LayerIndex{layer},
                  {.first = Position{3}, .count = 4, .width = 0, .hidden = {}, .margins = margins},
                  running);
  return running;
}

TEST(RouteSelector, RunsAllRowsOrNone) {
  const RouteSelector selector(Route::first(1, 2));
  EXPECT_EQ(*selector.fixed_route(), Route::first(1, 2));
  EXPECT_FALSE(selector.needs_margins(LayerIndex{1}));
  EXPECT_EQ(selected(selector, 0, {}), (std::vector<std::size_t>{0, 1, 2, 3}));
  EXPECT_TRUE(selected(selector, 1, {}).empty());
}

TEST(ConfidenceSelector, RowsLeaveAboveTheThresholdFromTheSecondLayerOn) {
  const ConfidenceSelector selector(0.5);
  EXPECT_EQ(selector.fixed_route(), nullptr);
  EXPECT_FALSE(selector.needs_margins(LayerIndex{0}));
  EXPECT_TRUE(selector.needs_margins(LayerIndex{1}));
  EXPECT_EQ(selected(selector, 0, {}), (std::vector<std::size_t>{0, 1, 2, 3}));
  const std::vector<float> margins{0.25F, 0.75F, 0.5F, std::nextafter(0.5F, 1.0F)};
  EXPECT_EQ(selected(selector, 1, margins), (std::vector<std::size_t>{0, 2}));
}

TEST(ConfidenceSelector, AtOneNothingLeavesAndNothingIsAsked) {
  const ConfidenceSelector selector(1);
  EXPECT_FALSE(selector.needs_margins(LayerIndex{3}));
  EXPECT_EQ(selected(selector, 3, {}), (std::vector<std::size_t>{0, 1, 2, 3}));
}

TEST(ConfidenceSelector, AMarginThatIsNoNumberLeavesNobody) {
  const std::vector<float> margins(4, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(selected(ConfidenceSelector(0.5), 1, margins).size(), 4U);
}

}  // namespace
}  // namespace fathom
