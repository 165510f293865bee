#include "text/pattern.h"

#include <string>

#include <gmock/gmock.h>

#include "base/error.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> matches(const Pattern& pattern, std::string_view text) {
  Pattern::Matcher matcher(pattern);
  std::vector<std::string_view> found;
  matcher.find_all(text, found);
  return {found.begin(), found.end()};
}

TEST(Pattern, FindsAllMatches) {
  EXPECT_THAT(matches(Pattern::regex(R"(\p{L}+|\p{N})"), "ab12 cd"),
              ElementsAre("ab", "1", "2", "cd"));
  EXPECT_THAT(matches(Pattern::regex(R"((?i:'s)|\s+(?!\S)|\s+)"), "x'S  y "),
              ElementsAre("'S", " ", " ", " "));
  EXPECT_THAT(matches(Pattern::literal("a.b"), "a.b axb a.b"), ElementsAre("a.b", "a.b"));
  EXPECT_THAT(matches(Pattern::regex("x"), ""), ElementsAre());
}

TEST(Pattern, SeesCharactersAsHuggingFaceDoes) {
  // U+31350 and U+1C89 are letters since Unicode 15 and 16; U+180E is no white space since 6.3.
  EXPECT_THAT(matches(Pattern::regex(R"(\p{L}+)"),
                      "a\xF0\xB1\x8D\x90"
                      "b\xE1\xB2\x89"),
              ElementsAre("a\xF0\xB1\x8D\x90"
                          "b\xE1\xB2\x89"));
  EXPECT_THAT(matches(Pattern::regex(R"(\s)"), "\xE1\xA0\x8E\xE3\x80\x80"),
              ElementsAre("\xE3\x80\x80"));
}

TEST(Pattern, RefusesWhatOnigurumaReadsOtherwise) {
  for (const char* expression :
       {R"(\h+)", R"(\p{Han})", R"(\p{L}{1,3}+)", "a{,3}b", "[a[b]]", "[a&&b]", "^a", "a$", ".",
        "(?<name>a)", "(?x)a", "(*UTF)a", R"(\w)", R"((a)\1)", "[]a]", R"(\pL)", R"(a\)"}) {
    EXPECT_THROW(Pattern::regex(expression), InputError) << expression;
  }
}

TEST(Pattern, NamesWhatItRefuses) {
  try {
    Pattern::regex(R"(\w+)");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr(R"('\w')"));
  }
}

TEST(Pattern, RefusesBrokenAndEmptyMatches) {
  for (const char* expression : {"(", "a)", "[a", "a**", "x*", "(?=a)", "", "a{1", "\xFF"}) {
    EXPECT_THROW(Pattern::regex(expression), InputError) << expression;
  }
  EXPECT_THROW(Pattern::literal(""), InputError);
}

TEST(Pattern, GivesUpRatherThanRunWithoutEnd) {
  Pattern::Matcher matcher(Pattern::regex("(?:a+)+[bc]"));
  std::vector<std::string_view> found;
  EXPECT_THROW(matcher.find_all(std::string(60, 'a'), found), InputError);
}

}  // namespace
}  // namespace fathom
