#include "model/ranking_file.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "model/shipped_rankings.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string example = R"({
  "format": "fathom ranking", "version": 1,
  "model": {"name": "m", "layers": 4, "sha256": "ab"},
  "data": {"name": "d.jsonl", "sha256": "cd", "searched_rows": 5, "held_out_rows": 6},
  "seed": 7, "fathom": "1.2.3",
  "nll": {"mean": 1.5, "low": 1.25, "high": 1.75},
  "eliminated": [3, 1, 2],
  "routes": [
    {"cost": 2, "layers": "2,4", "method": "beam", "nll": {"mean": 3.5, "low": 3, "high": 4}},
    {"cost": 3, "layers": "1-2,4", "method": "elimination"}]
})";

std::string with(std::string from, const std::string& to) {
  std::string text = example;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(RankingFile, ReadsBackWhatItWrites) {
  const RankingFile ranking = parse_ranking(example, "r.json");
  EXPECT_EQ(ranking.model_name, "m");
  EXPECT_EQ(ranking.model_sha256, "ab");
  EXPECT_EQ(ranking.layers, 4);
  EXPECT_EQ(ranking.searched_rows, 5U);
  EXPECT_EQ(ranking.held_out_rows, 6U);
  EXPECT_EQ(ranking.seed, 7U);
  EXPECT_EQ(ranking.eliminated, (std::vector{LayerIndex{2}, LayerIndex{0}, LayerIndex{1}}));
  ASSERT_EQ(ranking.routes.size(), 2U);
  EXPECT_EQ(ranking.routes[0].method, "beam");
  EXPECT_EQ(ranking.routes[0].nll.value().high, 4);
  EXPECT_FALSE(ranking.routes[1].nll);
  EXPECT_EQ(ranking.ranking().route(2).to_string(), "2,4");
  EXPECT_EQ(ranking.ranking().route(3).to_string(), "1-2,4");
  const std::string text = to_json(ranking).dump(2);
  EXPECT_EQ(to_json(parse_ranking(text, "again")).dump(2), text);
}

TEST(RankingFile, DamagedOnesSayWhere) {
  const auto error = [](const std::string& text) {
    return error_of<FileError>([&] { (void)parse_ranking(text, "r.json"); });
  };
  EXPECT_THAT(error(""), HasSubstr("r.json"));
  EXPECT_THAT(error("[]"), HasSubstr("r.json"));
  EXPECT_THAT(error(with("fathom ranking", "x")), AllOf(HasSubstr("r.json"), HasSubstr("format")));
  EXPECT_THAT(error(with(R"("version": 1)", R"("version": 2)")),
              AllOf(HasSubstr("version"), HasSubstr("2 found")));
  EXPECT_THAT(error(with(R"("layers": 4)", R"("layers": 0)")), HasSubstr("model.layers"));
  EXPECT_THAT(error(with(R"("layers": 4)", R"("layers": 99999999)")), HasSubstr("model.layers"));
  EXPECT_THAT(error(with(R"("layers": 4)", R"("layers": 3)")), HasSubstr("layers"));
  EXPECT_THAT(error(with(R"("seed": 7)", R"("seed": -7)")), HasSubstr("seed"));
  EXPECT_THAT(error(with("[3, 1, 2]", "[3, 5]")), HasSubstr("layer 5 found"));
  EXPECT_THAT(error(with("[3, 1, 2]", "[0]")), HasSubstr("layer 0 found"));
  EXPECT_THAT(error(with(R"("cost": 2)", R"("cost": 1)")),
              AllOf(HasSubstr("route 1"), HasSubstr("2 layers")));
  EXPECT_THAT(error(with(R"("2,4")", R"("2,5")")),
              AllOf(HasSubstr("route 1"), HasSubstr("layer 5")));
  EXPECT_THAT(error(with(R"("2,4")", R"("")")), HasSubstr("route 1"));
  EXPECT_THAT(error(with(R"("2,4")", "2")), HasSubstr("route 1"));
  EXPECT_THAT(error(with(R"("cost": 3, "layers": "1-2,4")", R"("cost": 2, "layers": "1,4")")),
              AllOf(HasSubstr("route 2"), HasSubstr("more layers")));
  EXPECT_THAT(error(with(R"("mean": 3.5)", R"("mean": "x")")), HasSubstr("mean"));
  EXPECT_THAT(error(with(R"("routes": [)", R"("routes": [7, )")), HasSubstr("route 1"));
  EXPECT_THAT(error(with(R"("routes")", R"("route")")), HasSubstr("routes"));
  for (std::size_t size = 0; size < example.size() - 1; ++size) {
    EXPECT_THROW((void)parse_ranking(example.substr(0, size), "r.json"), FileError) << size;
  }
}

TEST(RankingFile, EveryShippedOneIsFoundByItsHash) {
  for (const auto& [name, text] : shipped_rankings()) {
    const RankingFile ranking = parse_ranking(text, name);
    const auto found = shipped_ranking(ranking.model_sha256);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(to_json(*found), to_json(ranking));
    // For every cost there is a route.
    for (std::int32_t cost = 1; cost <= ranking.layers; ++cost) {
      EXPECT_EQ(ranking.ranking().route(cost).cost(), cost);
    }
  }
  EXPECT_FALSE(shipped_ranking(""));
  EXPECT_FALSE(shipped_ranking(std::string(64, '0')));
}

}  // namespace
}  // namespace fathom
