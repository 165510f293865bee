#include "metrics/porter_stemmer.h"

#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fathom {
namespace {

TEST(PorterStemmer, EqualsNltk) {
  std::ifstream in(FATHOM_SOURCE_DIR "/golden/rouge.json");
  const nlohmann::json golden = nlohmann::json::parse(in);
  ASSERT_GT(golden.at("stems").size(), 1000);
  for (const auto& [word, stem] : golden.at("stems").items()) {
    EXPECT_EQ(porter_stem(word), stem.get<std::string>()) << word;
  }
}

TEST(PorterStemmer, ShortWordsStay) {
  for (const char* const word : {"", "s", "y", "as", "ed", "7"}) EXPECT_EQ(porter_stem(word), word);
}

TEST(PorterStemmer, AStemIsNeitherEmptyNorLongerThanItsWord) {
  // All words of four letters out of those that rules look at.
  constexpr std::string_view letters = "aeiysdbltnz";
  std::string word(4, ' ');
  for (const char a : letters) {
    for (const char b : letters) {
      for (const char c : letters) {
        for (const char d : letters) {
          word = {a, b, c, d};
          const std::size_t size = porter_stem(word).size();
          ASSERT_TRUE(size >= 1 && size <= word.size()) << word;
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom
