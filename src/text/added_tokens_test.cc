#include "text/added_tokens.h"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace fathom {
namespace {

using testing::ElementsAre;

AddedToken token(std::string content, std::int32_t id) {
  AddedToken result;
  result.content = std::move(content);
  result.id = TokenId(id);
  return result;
}

/// Sections as text: a token as its id in brackets.
std::vector<std::string> cut(const AddedTokenFinder& finder, std::string_view text,
                             SpecialTokens special = SpecialTokens::recognize) {
  std::vector<Section> sections;
  finder.cut(text, special, sections);
  std::vector<std::string> result;
  for (const Section& section : sections) {
    result.push_back(section.token ? fmt::format("[{}]", section.token->value)
                                   : std::string(section.text));
  }
  return result;
}

TEST(AddedTokens, TheLongestAtTheLeftmostPlace) {
  const AddedTokenFinder finder({token("<a>", 1), token("<a><b>", 2), token("b><c", 3)});
  EXPECT_THAT(cut(finder, "x<a>y"), ElementsAre("x", "[1]", "y"));
  EXPECT_THAT(cut(finder, "<a><b><c"), ElementsAre("[2]", "<c"));
  EXPECT_THAT(cut(finder, "<a><c"), ElementsAre("[1]", "<c"));
  EXPECT_THAT(cut(finder, "<<a>"), ElementsAre("<", "[1]"));
  EXPECT_THAT(cut(finder, ""), ElementsAre());
}

TEST(AddedTokens, SpecialOnesCanBeText) {
  AddedToken end = token("<end>", 1);
  end.special = true;
  const AddedTokenFinder finder({end, token("<x>", 2), token("d><", 3)});
  EXPECT_THAT(cut(finder, "a<end><x>", SpecialTokens::as_text), ElementsAre("a<end>", "[2]"));
  EXPECT_THAT(cut(finder, "a<end><x>"), ElementsAre("a", "[1]", "[2]"));
}

TEST(AddedTokens, WhiteSpaceAroundThem) {
  AddedToken left = token("<l>", 1);
  left.lstrip = true;
  AddedToken right = token("<r>", 2);
  right.rstrip = true;
  const AddedTokenFinder finder({left, right});
  EXPECT_THAT(cut(finder, "a \t\xE3\x80\x80<l> b"), ElementsAre("a", "[1]", " b"));
  EXPECT_THAT(cut(finder, "a <r> \n b"), ElementsAre("a ", "[2]", "b"));
  EXPECT_THAT(cut(finder, "<r>  <l>"), ElementsAre("[2]", "[1]"));
}

TEST(AddedTokens, SingleWords) {
  AddedToken word = token("w", 1);
  word.single_word = true;
  const AddedTokenFinder finder({word});
  EXPECT_THAT(cut(finder, "w aw wa w-w"), ElementsAre("[1]", " aw wa ", "[1]", "-", "[1]"));
  EXPECT_THAT(cut(finder, "\xC3\xA9w \xCC\x81w"), ElementsAre("\xC3\xA9w \xCC\x81w"));
}

TEST(AddedTokens, FindsWhatASimpleSearchFinds) {
  std::mt19937 random(9);
  for (int round = 0; round < 500; ++round) {
    std::vector<AddedToken> tokens;
    for (std::int32_t id = 0; id < 6; ++id) {
      std::string content;
      for (std::size_t n = random() % 4 + 1; n > 0; --n) content += "ab"[random() % 2];
      const bool known = std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& other) {
        return other.content == content;
      });
      if (!known) tokens.push_back(token(content, id));
    }
    std::string text;
    for (std::size_t n = random() % 20; n > 0; --n) text += "abc"[random() % 3];

    std::vector<std::string> expected;
    std::string before;
    for (std::size_t i = 0; i < text.size();) {
      const AddedToken* longest = nullptr;
      for (const AddedToken& candidate : tokens) {
        if (text.compare(i, candidate.content.size(), candidate.content) == 0 &&
            (longest == nullptr || longest->content.size() < candidate.content.size())) {
          longest = &candidate;
        }
      }
      if (longest == nullptr) {
        before += text[i++];
        continue;
      }
      if (!before.empty()) expected.push_back(std::exchange(before, ""));
      expected.push_back(fmt::format("[{}]", longest->id.value));
      i += longest->content.size();
    }
    if (!before.empty()) expected.push_back(before);
    ASSERT_EQ(cut(AddedTokenFinder(tokens), text), expected);
  }
}

}  // namespace
}  // namespace fathom
