#include "oracle/score_table.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// A file of its own for each test.
class ScoreTableTest : public testing::Test {
 protected:
  ScoreTableTest()
      : path_(std::filesystem::path(testing::TempDir()) /
              (std::string("scores_") +
               testing::UnitTest::GetInstance()->current_test_info()->name() + ".csv")) {}
  ~ScoreTableTest() override { std::filesystem::remove(path_); }

  ScoreTable read(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return read_scores(path_);
  }
  std::string refusal(const std::string& text) {
    return error_of<FileError>([&] { return read(text); });
  }

 private:
  std::filesystem::path path_;
};

TEST_F(ScoreTableTest, ReadsScoresByDepth) {
  const ScoreTable table = read("24,id,4,8.5\n0.5,a,0.1,0.2\r\n1,\"b, \"\"c\"\"\n\",-0.5,1e-1\n\n");
  EXPECT_THAT(table.depths, ElementsAre("4", "8.5", "24"));
  EXPECT_THAT(table.layers, ElementsAre(4, 8.5, 24));
  EXPECT_THAT(table.choices.quality, ElementsAre(0.1, 0.2, 0.5, -0.5, 0.1, 1));
  EXPECT_THAT(table.choices.cost, ElementsAre(4, 8.5, 24, 4, 8.5, 24));
  EXPECT_EQ(table.unit, CostUnit::layers);
  EXPECT_EQ(table.samples(), 2);
  EXPECT_DOUBLE_EQ(mean_quality(table, 2), 0.75);
  EXPECT_EQ(mean_cost(table, 1), 8.5);
  EXPECT_TRUE(table.label_tokens.empty());
}

TEST_F(ScoreTableTest, TokensMakeACostOfTheirOwn) {
  const ScoreTable table =
      read("id,4,8,tokens_8,label_tokens,tokens_4\nx,0,1,10,33,20\ny,1,1,0,200,7\n");
  EXPECT_EQ(table.unit, CostUnit::layer_tokens);
  EXPECT_THAT(table.choices.cost, ElementsAre(80, 80, 28, 0));
  EXPECT_THAT(table.label_tokens, ElementsAre(33, 200));
  EXPECT_EQ(mean_cost(table, 0), 54);
}

TEST_F(ScoreTableTest, WhatCannotBeUsedIsNamedByRowAndColumn) {
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
  EXPECT_THAT(refusal("id,4\n"), HasSubstr("without rows"));
  EXPECT_THAT(refusal("4,8\n1,2\n"), HasSubstr("'id'"));
  EXPECT_THAT(refusal("id\na\n"), HasSubstr("cost"));
  EXPECT_THAT(refusal("id,4,4\na,1,2\n"), HasSubstr("column '4': named twice"));
  EXPECT_THAT(refusal("id,4,4.0\na,1,2\n"), HasSubstr("column '4.0': its cost is named twice"));
  EXPECT_THAT(refusal("id,4,score\na,1,2\n"), HasSubstr("column 'score'"));
  EXPECT_THAT(refusal("id,4,-8\na,1,2\n"), HasSubstr("column '-8'"));
  EXPECT_THAT(refusal("id,4,8,tokens_4\na,1,2,3\n"), HasSubstr("no column 'tokens_8'"));
  EXPECT_THAT(refusal("id,4,tokens_4,tokens_5\na,1,2,3\n"), HasSubstr("column 'tokens_5'"));
  EXPECT_THAT(refusal("id,4,8\na,1,2\nb,3\n"), AllOf(HasSubstr("row 2 (line 3), column '8'"),
                                                     HasSubstr("2 cells found, 3 expected")));
  EXPECT_THAT(refusal("id,4,8\na,1,2,3\n"),
              AllOf(HasSubstr("row 1 (line 2)"), HasSubstr("4 cells found, 3 expected")));
  EXPECT_THAT(refusal("id,4,8\na,1,\n"),
              AllOf(HasSubstr("row 1 (line 2), column '8'"), HasSubstr("nothing found")));
  EXPECT_THAT(refusal("id,4,8\na,1,2\n\nb,nan,2\n"),
              AllOf(HasSubstr("row 2 (line 4), column '4'"), HasSubstr("'nan' found")));
  EXPECT_THAT(refusal("id,4,8\na,1,inf\n"), HasSubstr("column '8'"));
  EXPECT_THAT(refusal("id,4,8\na,1e999,1\n"), HasSubstr("column '4'"));
  EXPECT_THAT(refusal("id,4,8\na,1,2x\n"), HasSubstr("'2x' found"));
  EXPECT_THAT(refusal("id,4,label_tokens\na,1,-2\n"), HasSubstr("'label_tokens'"));
  EXPECT_THAT(refusal("id,4\n\"a,1\n"), HasSubstr("not closed"));
  EXPECT_THAT(refusal("id,4\n\"a\"b,1\n"), HasSubstr("closing quote"));
}

TEST_F(ScoreTableTest, TheGreedyOracleTakesTheBestWithinEachDepth) {
  const ScoreTable table = read("id,1,2,3\na,0.5,0.25,0.75\nb,0,1,0.5\n");
  EXPECT_THAT(greedy_oracle(table), ElementsAre(0.25, 0.75, 0.875));
}

TEST_F(ScoreTableTest, LengthsFallIntoBins) {
  const std::vector<std::pair<double, std::size_t>> expected = {
      {0, 0}, {1, 0}, {15, 0}, {16, 1}, {30, 1}, {31, 2}, {150, 9}, {151, 10}, {9999, 10}};
  for (const auto& [tokens, bin] : expected) EXPECT_EQ(length_bin(tokens), bin) << tokens;
  const ScoreTable table = read("id,1,2,label_tokens\na,0,0,7\nb,0,0,15\nc,0,0,151\n");
  const auto counts = depths_by_length(table, std::vector<std::uint32_t>{1, 1, 0});
  EXPECT_THAT(counts[0], ElementsAre(0, 2));
  EXPECT_THAT(counts[10], ElementsAre(1, 0));
}

}  // namespace
}  // namespace fathom
