#include "metrics/rouge.h"

#include <fstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace fathom {
namespace {

using testing::ElementsAre;

nlohmann::json rouge_golden() {
  std::ifstream in(FATHOM_SOURCE_DIR "/golden/rouge.json");
  return nlohmann::json::parse(in);
}

void expect_equal(const RougeScore& score, const nlohmann::json& golden) {
  // The same operations in the same order: the same bits.
  EXPECT_EQ(score.precision, golden.at(0).get<double>());
  EXPECT_EQ(score.recall, golden.at(1).get<double>());
  EXPECT_EQ(score.f1, golden.at(2).get<double>());
}

void expect_golden(std::string_view key, Stemming stemming) {
  const nlohmann::json golden = rouge_golden();
  ASSERT_GT(golden.at("pairs").size(), 100);
  for (const nlohmann::json& pair : golden.at("pairs")) {
    SCOPED_TRACE(pair.dump());
    const RougeScores scores = rouge(pair.at("prediction").get<std::string>(),
                                     pair.at("reference").get<std::string>(), stemming);
    const nlohmann::json& expected = pair.at(std::string(key));
    expect_equal(scores.rouge1, expected.at(0));
    expect_equal(scores.rouge2, expected.at(1));
    expect_equal(scores.rouge_l, expected.at(2));
    expect_equal(scores.rouge_lsum, expected.at(3));
  }
}

TEST(Rouge, EqualsRougeScore) { expect_golden("plain", Stemming::none); }

TEST(Rouge, EqualsRougeScoreWithItsStemmer) { expect_golden("stemmed", Stemming::porter); }

TEST(Rouge, WordsAreOfAsciiLettersAndDigits) {
  EXPECT_THAT(rouge_words("The U.S. sank 3rd_rate ships,\n don't!", Stemming::none),
              ElementsAre("the", "u", "s", "sank", "3rd", "rate", "ships", "don", "t"));
  EXPECT_THAT(rouge_words("na\u00EFve \u6DF1\u3055", Stemming::none), ElementsAre("na", "ve"));
  EXPECT_THAT(rouge_words("", Stemming::none), ElementsAre());
}

TEST(Rouge, LettersWhoseLowerCaseIsAsciiCount) {
  EXPECT_THAT(rouge_words("\u212Aelvin \u0130stanbul D\u0130", Stemming::none),
              ElementsAre("kelvin", "i", "stanbul", "di"));
}

TEST(Rouge, OnlyWordsOfMoreThanThreeLettersAreStemmed) {
  EXPECT_THAT(rouge_words("ties tied was sailing", Stemming::porter),
              ElementsAre("tie", "tie", "was", "sail"));
}

TEST(Rouge, AWordCountsAsOftenAsBothHaveIt) {
  const RougeScores scores = rouge("sea sea sea", "sea\nsea", Stemming::none);
  EXPECT_DOUBLE_EQ(scores.rouge1.precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.rouge1.recall, 1);
  EXPECT_DOUBLE_EQ(scores.rouge_lsum.precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.rouge_lsum.f1, 0.8);
}

}  // namespace
}  // namespace fathom
