#include "study/layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

using testing::HasSubstr;

TEST(Layers, OfTwoNeighboursOneIsHeldOut) {
  int first_searches = 0;
  constexpr std::uint64_t pairs = 1000;
  for (std::uint64_t pair = 0; pair < pairs; ++pair) {
    const Half first = half_of(2 * pair, 5);
    EXPECT_NE(first, half_of(2 * pair + 1, 5));
    EXPECT_EQ(first, half_of(2 * pair, 5));
    if (first == Half::search) ++first_searches;
  }
  // Which of the two is drawn: 1,000 fair draws are within 100 of 500 but for one time in 10^9.
  EXPECT_NEAR(first_searches, 500, 100);
  int other = 0;
  for (std::uint64_t sample = 0; sample < pairs; ++sample) {
    if (half_of(sample, 5) != half_of(sample, 6)) ++other;
  }
  EXPECT_NEAR(other, 500, 150);
}

TEST(Layers, OptionsReadBack) {
  const LayersOptions options{.beam = 3, .random_routes = 7, .max_response_tokens = 9, .seed = 11};
  const nlohmann::json json = to_json(options);
  const LayersOptions back = layers_options_from_json(json, "f");
  EXPECT_EQ(to_json(back), to_json(options));
  nlohmann::json bad = json;
  bad["beam"] = 0;
  EXPECT_THAT(error_of<FileError>([&] { (void)layers_options_from_json(bad, "f"); }),
              HasSubstr("beam"));
  bad.erase("beam");
  EXPECT_THAT(error_of<FileError>([&] { (void)layers_options_from_json(bad, "f"); }),
              HasSubstr("beam"));
}

}  // namespace
}  // namespace fathom
