#include "study/oracle.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(OracleDepths, AreInTheOrderOfTheirCosts) {
  EXPECT_THAT(oracle_depths("full,uniform:4,layers:1,3,5-9,first:2", 24, std::nullopt),
              ElementsAre("first:2", "uniform:4", "layers:1,3,5-9", "full"));
  EXPECT_THAT(oracle_depths("full", 24, std::nullopt), ElementsAre("full"));
  EXPECT_THAT(oracle_depths("random:3,full", 24, std::nullopt), ElementsAre("random:3", "full"));
}

TEST(OracleDepths, TakesWhatTheRankingHas) {
  const Ranking ranking(6, {Route::block(2, 6)});
  EXPECT_THAT(oracle_depths("full,first:3,ranked:2", 6, ranking),
              ElementsAre("ranked:2", "first:3", "full"));
  EXPECT_THAT(error_of<InputError>([&] { oracle_depths("ranked:3,full", 6, ranking); }),
              HasSubstr("ranked:3"));
  EXPECT_THAT(error_of<InputError>([] { oracle_depths("ranked:2,full", 6, std::nullopt); }),
              HasSubstr("ranked:2"));
}

TEST(OracleDepths, RefusesWhatIsNoSetOfDepths) {
  for (const auto& [list, word] : std::vector<std::pair<std::string, std::string>>{
           {"uniform:8", "full is missing"},
           {"uniform:8,first:8,full", "uniform:8 and first:8 both run 8 layers"},
           {"full,full", "both run 24 layers"},
           {"full,uniform:25", "1 to 24"},
           {"full,", "''"},
           {"full,deep", "'deep'"}}) {
    EXPECT_THAT(error_of<InputError>([&] { return oracle_depths(list, 24, std::nullopt); }),
                HasSubstr(word))
        << list;
  }
}

TEST(OracleOptions, AreReadBack) {
  const OracleOptions options{.depths = {"uniform:1", "ranked:2", "full"},
                              .ranking = Ranking(6, {Route::block(2, 6), Route::first(3, 6)}),
                              .max_new_tokens = 77,
                              .draws = 2,
                              .temperature = 0.4,
                              .seed = 5};
  const OracleOptions read = oracle_options_from_json(to_json(options), "run.sqlite", 6);
  EXPECT_EQ(read.depths, options.depths);
  ASSERT_TRUE(read.ranking.has_value());
  EXPECT_EQ(read.ranking->route(2), Route::block(2, 6));
  EXPECT_THAT(to_json(options)["ranked_layers"].dump(), R"({"ranked:2":"1,6"})");
  EXPECT_EQ(read.max_new_tokens, 77U);
  EXPECT_EQ(read.draws, 2U);
  EXPECT_EQ(read.temperature, 0.4);
  EXPECT_EQ(read.seed, 5U);
}

TEST(OracleOptions, NamesRoutesThatAreWrong) {
  const auto read = [](const nlohmann::json& ranked) {
    nlohmann::json json = to_json({.depths = {"ranked:2", "full"}});
    json["ranked_layers"] = ranked;
    return error_of<FileError>([&] { oracle_options_from_json(json, "run.sqlite", 6); });
  };
  EXPECT_THAT(read(nullptr), AllOf(HasSubstr("depths"), HasSubstr("ranked:2")));
  EXPECT_THAT(read({{"ranked:2", "1,2,3"}}), AllOf(HasSubstr("depths"), HasSubstr("ranked:2")));
  EXPECT_THAT(read({{"ranked:2", "1,7"}}), HasSubstr("ranked_layers.ranked:2"));
  EXPECT_THAT(read({{"ranked:2", 3}}), HasSubstr("ranked_layers.ranked:2"));
  EXPECT_THAT(read({{"ranked:2", "1,2"}, {"ranked:3", "1,3"}}), HasSubstr("ranked_layers"));
  EXPECT_THAT(read("1,2"), HasSubstr("ranked_layers"));
}

TEST(OracleOptions, NamesWhatIsWrong) {
  for (const std::string key : {"depths", "max_new_tokens", "generations", "seed"}) {
    nlohmann::json json = to_json({.depths = {"full"}});
    json[key] = "x";
    EXPECT_THAT(
        error_of<FileError>([&] { return oracle_options_from_json(json, "run.sqlite", 6); }),
        AllOf(HasSubstr("run.sqlite"), HasSubstr(key)));
  }
}

}  // namespace
}  // namespace fathom
