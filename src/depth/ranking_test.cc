#include "depth/ranking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

using testing::HasSubstr;

Route route_of(const std::vector<LayerIndex>& layers, std::int32_t depth) {
  return Route::of(layers, depth);
}

TEST(Ranking, KeepsARouteForEachCost) {
  // Not nested: layer 3 runs in the shorter one only.
  const Ranking ranking(4, {route_of({LayerIndex{0}, LayerIndex{1}, LayerIndex{3}}, 4),
                            route_of({LayerIndex{0}, LayerIndex{2}}, 4)});
  EXPECT_EQ(ranking.depth(), 4);
  EXPECT_EQ(ranking.route(2).to_string(), "1,3");
  EXPECT_EQ(ranking.route(3).to_string(), "1-2,4");
  EXPECT_EQ(ranking.route(4), Route::full(4));
  EXPECT_THAT(error_of<InputError>([&] { (void)ranking.route(1); }),
              testing::AllOf(HasSubstr("1 layers"), HasSubstr("2, 3, 4")));
  EXPECT_THROW((void)ranking.route(5), InputError);
}

TEST(Ranking, RefusesRoutesThatContradict) {
  EXPECT_THAT(error_of<InputError>([] { Ranking(4, {Route::first(2, 5)}); }),
              testing::AllOf(HasSubstr("5 layers"), HasSubstr("of 4")));
  EXPECT_THAT(error_of<InputError>([] {
                Ranking(4, {Route::first(2, 4), Route::uniform(2, 4)});
              }),
              HasSubstr("two routes that run 2"));
  EXPECT_EQ(Ranking(4, {Route::full(4)}).route(4), Route::full(4));
}

}  // namespace
}  // namespace fathom
