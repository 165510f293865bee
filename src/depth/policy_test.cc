#include "depth/policy.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

using testing::HasSubstr;

TEST(Policy, EveryPolicyReadsBack) {
  for (const std::string text :
       {"full", "first:3", "uniform:15", "random:4", "random-free:4", "block:4", "ranked:4",
        "layers:1,3,5-9", "layers:2", "confidence:0.25", "confidence:1", "confidence:1e-05"}) {
    EXPECT_EQ(to_string(parse_policy(text)), text);
  }
  EXPECT_EQ(to_string(parse_policy("confidence:0.500")), "confidence:0.5");
  EXPECT_EQ(to_string(parse_policy("layers:9,1-3,2000")), "layers:1-3,9,2000");
}

TEST(Policy, ListsKeepTheNumbersOfLayersTogether) {
  const auto policies = parse_policies("full,layers:1,3,5-9,first:4");
  ASSERT_EQ(policies.size(), 3U);
  EXPECT_EQ(to_string(policies[1]), "layers:1,3,5-9");
  EXPECT_EQ(to_string(policies[2]), "first:4");
}

TEST(Policy, RefusesWithTheTextAndWhatWasExpected) {
  for (const std::string text : {"",
                                 "ful",
                                 "full:",
                                 "full:3",
                                 "first",
                                 "first:",
                                 "first:0",
                                 "first:-1",
                                 "first:x",
                                 "first:3x",
                                 "first: 3",
                                 "uniform:99999999999",
                                 "layers:",
                                 "layers:0",
                                 "layers:3-1",
                                 "layers:1,,2",
                                 "ranked",
                                 "ranked:0",
                                 "ranked:x",
                                 "layers:1-",
                                 "layers:1,1",
                                 "layers:1-3,2",
                                 "layers:1-99999999",
                                 "confidence",
                                 "confidence:",
                                 "confidence:0",
                                 "confidence:-0.5",
                                 "confidence:1.01",
                                 "confidence:nan",
                                 "confidence:inf",
                                 "confidence:0.5x",
                                 "confidence: 0.5",
                                 "depth:3"}) {
    EXPECT_THAT(error_of<InputError>([&] { parse_policy(text); }), HasSubstr("'" + text + "'"))
        << text;
  }
  EXPECT_THROW(parse_policies("full,"), InputError);
  EXPECT_THROW(parse_policies(",full"), InputError);
}

TEST(Policy, SaysWhichPoliciesComeLater) {
  EXPECT_THAT(error_of<InputError>([] { parse_policy("router:r@12"); }),
              HasSubstr("not available"));
}

TEST(Policy, OutOfRangeNamesThePolicyAndTheRange) {
  EXPECT_THAT(error_of<InputError>([] { resolve(parse_policy("uniform:31"), 30, 0, 0); }),
              testing::AllOf(HasSubstr("uniform:31"), HasSubstr("1 to 30")));
  EXPECT_THAT(error_of<InputError>([] { resolve(parse_policy("layers:1,31"), 30, 0, 0); }),
              testing::AllOf(HasSubstr("layer 31"), HasSubstr("1 to 30")));
}

TEST(Policy, AThresholdOutOfRangeSaysTheRange) {
  EXPECT_THAT(error_of<InputError>([] { parse_policy("confidence:2"); }),
              testing::AllOf(HasSubstr("'confidence:2'"), HasSubstr("above 0, up to 1")));
}

TEST(Policy, ConfidenceHasASelectorButNoRoute) {
  const DepthPolicy policy = parse_policy("confidence:0.5");
  EXPECT_FALSE(needs_ranking(policy));
  EXPECT_FALSE(has_fixed_route(policy));
  EXPECT_TRUE(has_fixed_route(parse_policy("random:2")));
  EXPECT_THAT(error_of<InputError>([&] { resolve(policy, 6, 0, 0); }),
              testing::AllOf(HasSubstr("confidence:0.5"), HasSubstr("no fixed route")));
  const auto selector = make_selector(policy, 6, 0, 0);
  EXPECT_EQ(selector->fixed_route(), nullptr);
  std::vector<std::size_t> running;
  const std::vector<float> margins{0.4F, 0.6F};
  selector->select(LayerIndex{1},
                   {.first = Position{0}, .count = 2, .hidden = {}, .margins = margins}, running);
  EXPECT_EQ(running, std::vector<std::size_t>{0});
}

TEST(Policy, ControllersHaveASelectorButNoRoute) {
  const DepthPolicy policy = parse_policy("controller:runs/a:2.safetensors");
  EXPECT_EQ(to_string(policy), "controller:runs/a:2.safetensors");
  EXPECT_THAT(error_of<InputError>([] { parse_policy("controller:"); }),
              HasSubstr("the file of the controllers"));
  EXPECT_EQ(parse_policies("full,controller:a,first:2").size(), 3U);
  EXPECT_FALSE(has_fixed_route(policy));
  EXPECT_EQ(*controller_file(policy), "runs/a:2.safetensors");
  EXPECT_EQ(controller_file(parse_policy("full")), nullptr);
  EXPECT_THAT(error_of<InputError>([&] { resolve(policy, 4, 0, 0); }), HasSubstr("no fixed route"));

  LoadedControllers loaded{.by_file = {}, .rule = parse_gate_rule("argmax")};
  EXPECT_THAT(error_of<InputError>([&] { make_selector(policy, 4, 0, 0, {}, loaded); }),
              HasSubstr("not taken here"));
  // Layer 2 runs, layer 3 does not.
  loaded.by_file["runs/a:2.safetensors"] = std::make_shared<SkipControllers>(
      4, 1, ControllerInput::fixed,
      std::vector<GateWeights>{{.weight = {1, 0}, .bias = {}}, {.weight = {0, 1}, .bias = {}}});
  const auto selector = make_selector(policy, 4, 0, 0, {}, loaded);
  const std::vector<float> state{0};
  for (const std::int32_t layer : {0, 1, 2, 3}) {
    std::vector<std::size_t> running;
    selector->select(LayerIndex{layer},
                     {.first = Position{0}, .count = 1, .width = 1, .hidden = state}, running);
    EXPECT_EQ(running.size(), layer == 2 ? 0U : 1U);
  }
  EXPECT_THAT(error_of<InputError>([&] { make_selector(policy, 5, 0, 0, {}, loaded); }),
              testing::AllOf(HasSubstr("4 layers"), HasSubstr("has 5")));
}

TEST(Policy, OtherSelectorsHaveTheRouteOfThePolicy) {
  EXPECT_EQ(*make_selector(parse_policy("random:2"), 6, 4, 5)->fixed_route(),
            Route::random(2, 6, 4, 5));
  EXPECT_THROW(make_selector(parse_policy("uniform:7"), 6, 0, 0), InputError);
}

TEST(Policy, ResolvesToTheRoutesOfItsName) {
  EXPECT_EQ(resolve(parse_policy("full"), 6, 0, 0), Route::full(6));
  EXPECT_EQ(resolve(parse_policy("first:2"), 6, 0, 0), Route::first(2, 6));
  EXPECT_EQ(resolve(parse_policy("uniform:2"), 6, 0, 0), Route::uniform(2, 6));
  EXPECT_EQ(resolve(parse_policy("random:2"), 6, 4, 5), Route::random(2, 6, 4, 5));
  EXPECT_EQ(resolve(parse_policy("random-free:2"), 6, 4, 5), Route::random_free(2, 6, 4, 5));
  EXPECT_EQ(resolve(parse_policy("block:3"), 6, 0, 0), Route::block(3, 6));
  EXPECT_EQ(resolve(parse_policy("layers:2,4"), 6, 0, 0).to_string(), "2,4");
}

TEST(Policy, RankedTakesTheRankingsRoute) {
  const DepthPolicy policy = parse_policy("ranked:2");
  EXPECT_TRUE(needs_ranking(policy));
  EXPECT_FALSE(needs_ranking(parse_policy("uniform:2")));
  const std::optional<Ranking> ranking(std::in_place, 6, std::vector{Route::block(2, 6)});
  EXPECT_EQ(resolve(policy, 6, 0, 0, ranking), Route::block(2, 6));
  EXPECT_EQ(resolve(parse_policy("ranked:6"), 6, 0, 0, ranking), Route::full(6));
  EXPECT_THAT(error_of<InputError>([&] { resolve(parse_policy("ranked:3"), 6, 0, 0, ranking); }),
              testing::AllOf(HasSubstr("ranked:3"), HasSubstr("2, 6")));
  EXPECT_THAT(error_of<InputError>([&] { resolve(policy, 7, 0, 0, ranking); }),
              testing::AllOf(HasSubstr("ranked:2"), HasSubstr("6 layers"), HasSubstr("has 7")));
  EXPECT_THAT(error_of<InputError>([&] { resolve(policy, 6, 0, 0); }),
              testing::AllOf(HasSubstr("ranked:2"), HasSubstr("needs a ranking")));
}

}  // namespace
}  // namespace fathom
