#include "generate/stop_strings.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace fathom {
namespace {

TEST(StopStrings, CutsBeforeTheFirstAndHoldsBackBeginnings) {
  StopStrings stops({"END", "EN!"});
  EXPECT_EQ(stops.push("abcE"), "abc");
  EXPECT_EQ(stops.push("N"), "");
  EXPECT_EQ(stops.push("x"), "ENx");
  EXPECT_EQ(stops.push("yEN"), "y");
  EXPECT_EQ(stops.push("D and more"), "");
  EXPECT_EQ(stops.found(), "END");
  EXPECT_EQ(stops.push("never"), "");
  EXPECT_EQ(stops.flush(), "");
}

TEST(StopStrings, FlushGivesWhatWasHeld) {
  StopStrings stops({"END"});
  EXPECT_EQ(stops.push("aEN"), "a");
  EXPECT_EQ(stops.flush(), "EN");
  EXPECT_FALSE(stops.found());
}

TEST(StopStrings, AnyCutOfTheTextGivesTheSame) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 3000; ++trial) {
    std::string text;
    for (int i = 0; i < 20; ++i) text += static_cast<char>('a' + random() % 2);
    const std::vector<std::string> strings{"aabb", "bbb", "abab"};
    std::size_t first = std::string::npos;
    for (const std::string& s : strings) first = std::min(first, text.find(s));
    StopStrings stops(strings);
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t n = 1 + random() % 4;
      out += stops.push(text.substr(i, n));
      i += n;
    }
    out += stops.flush();
    EXPECT_EQ(out, text.substr(0, first)) << text;
    EXPECT_EQ(stops.found().has_value(), first != std::string::npos);
  }
}

TEST(StopStrings, RefusesAnEmptyOne) { EXPECT_THROW(StopStrings({""}), InputError); }

}  // namespace
}  // namespace fathom
