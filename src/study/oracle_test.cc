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
  EXPECT_THAT(oracle_depths("full,uniform:4,layers:1,3,5-9,first:2", 24),
              ElementsAre("first:2", "uniform:4", "layers:1,3,5-9", "full"));
  EXPECT_THAT(oracle_depths("full", 24), ElementsAre("full"));
  EXPECT_THAT(oracle_depths("random:3,full", 24), ElementsAre("random:3", "full"));
}

TEST(OracleDepths, RefusesWhatIsNoSetOfDepths) {
  for (const auto& [list, word] : std::vector<std::pair<std::string, std::string>>{
           {"uniform:8", "full is missing"},
           {"uniform:8,first:8,full", "uniform:8 and first:8 both run 8 layers"},
           {"full,full", "both run 24 layers"},
           {"full,uniform:25", "1 to 24"},
           {"full,", "''"},
           {"full,deep", "'deep'"}}) {
    EXPECT_THAT(error_of<InputError>([&] { return oracle_depths(list, 24); }), HasSubstr(word))
        << list;
  }
}

TEST(OracleOptions, AreReadBack) {
  const OracleOptions options{.depths = {"uniform:8", "full"},
                              .max_new_tokens = 77,
                              .draws = 2,
                              .temperature = 0.4,
                              .seed = 5};
  const OracleOptions read = oracle_options_from_json(to_json(options), "run.sqlite");
  EXPECT_EQ(read.depths, options.depths);
  EXPECT_EQ(read.max_new_tokens, 77U);
  EXPECT_EQ(read.draws, 2U);
  EXPECT_EQ(read.temperature, 0.4);
  EXPECT_EQ(read.seed, 5U);
}

TEST(OracleOptions, NamesWhatIsWrong) {
  for (const std::string key : {"depths", "max_new_tokens", "generations", "seed"}) {
    nlohmann::json json = to_json({.depths = {"full"}});
    json[key] = "x";
    EXPECT_THAT(error_of<FileError>([&] { return oracle_options_from_json(json, "run.sqlite"); }),
                AllOf(HasSubstr("run.sqlite"), HasSubstr(key)));
  }
}

}  // namespace
}  // namespace fathom
