#include "text/unicode.h"

#include <random>

#include <gmock/gmock.h>

namespace fathom {
namespace {

using State = Utf8Unit::State;

std::string utf8(std::u32string_view characters) {
  std::string text;
  for (const char32_t c : characters) append_utf8(text, c);
  return text;
}

/// Bytes that are nearly UTF-8: whole characters, cut ones, and any bytes.
std::string random_bytes(std::mt19937& random) {
  std::string text;
  const auto draw = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (std::uint32_t parts = draw(12); parts > 0; --parts) {
    if (draw(3) == 0) {
      text.push_back(static_cast<char>(draw(256)));
      continue;
    }
    std::string character;
    const char32_t c = draw(0x110000);
    append_utf8(character, c >= 0xD800 && c < 0xE000 ? U'x' : c);
    text += draw(4) == 0 ? character.substr(0, draw(4)) : character;
  }
  return text;
}

TEST(Utf8, ReadsEveryCharacterThatItWrites) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Unit unit = first_character(text);
    ASSERT_EQ(unit.state, State::well_formed);
    ASSERT_EQ(unit.character, c);
    ASSERT_EQ(unit.bytes, text.size());
    for (std::size_t n = 1; n < text.size(); ++n) {
      const Utf8Unit cut = first_character(std::string_view(text).substr(0, n));
      ASSERT_EQ(cut.state, State::unfinished);
      ASSERT_EQ(cut.bytes, n);
      ASSERT_EQ(unfinished_bytes(std::string(1, 'a').append(text, 0, n)), n);
    }
    ASSERT_EQ(unfinished_bytes(text), 0);
  }
}

TEST(Utf8, ReplacesMaximalSubparts) {
  // The example of the Unicode standard's table "U+FFFD for truncated sequences", and others.
  EXPECT_EQ(replace_ill_formed("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            utf8(U"a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"));
  EXPECT_EQ(replace_ill_formed("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            utf8(U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"));
  EXPECT_EQ(replace_ill_formed("\xED\xA0\x80\xF4\x91\x92\x93\xFF"),
            utf8(U"\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"));
}

TEST(Utf8, ReplacingGivesUtf8AndKeepsUtf8) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const std::string text = random_bytes(random);
    const std::string replaced = replace_ill_formed(text);
    ASSERT_TRUE(is_utf8(replaced));
    ASSERT_EQ(is_utf8(text), text == replaced);
    ASSERT_EQ(replace_ill_formed(replaced), replaced);
  }
}

TEST(Utf8, CuttingBeforeWhatIsUnfinishedChangesNothing) {
  std::mt19937 random(2);
  for (int i = 0; i < 20000; ++i) {
    const std::string text = random_bytes(random);
    const std::size_t at = random() % (text.size() + 1);
    const std::size_t cut = at - unfinished_bytes(std::string_view(text).substr(0, at));
    ASSERT_EQ(replace_ill_formed(text.substr(0, cut)) + replace_ill_formed(text.substr(cut)),
              replace_ill_formed(text));
  }
}

TEST(Unicode, Classes) {
  EXPECT_TRUE(is_white_space(U'\u3000'));
  EXPECT_TRUE(is_white_space(U'\u0085'));
  EXPECT_FALSE(is_white_space(U'\u180E'));
  EXPECT_FALSE(is_white_space(U'\u200B'));
  EXPECT_TRUE(is_numeric(U'\u00BD'));
  EXPECT_TRUE(is_numeric(U'\U0001D7D8'));
  EXPECT_FALSE(is_numeric(U'\u3007' + 1));
  EXPECT_TRUE(is_word_character(U'_'));
  EXPECT_TRUE(is_word_character(U'\u0301'));
  EXPECT_FALSE(is_word_character(U'-'));
}

TEST(Nfc, ComposesAndOrders) {
  EXPECT_EQ(nfc(utf8(U"e\u0301")), utf8(U"\u00E9"));
  EXPECT_EQ(nfc(utf8(U"s\u0307\u0323")), utf8(U"\u1E69"));
  EXPECT_EQ(nfc(utf8(U"\u1112\u1161\u11AB")), utf8(U"\uD55C"));
  EXPECT_EQ(nfc(utf8(U"\u212B")), utf8(U"\u00C5"));
  EXPECT_EQ(nfc(utf8(U"\u0958")), utf8(U"\u0915\u093C"));  // excluded from composition
  EXPECT_EQ(nfc("plain"), "plain");
  EXPECT_EQ(nfc(""), "");
}

TEST(Nfc, IsIdempotentAndBlindToTheOrderOfMarks) {
  std::mt19937 random(3);
  const std::u32string marks = U"\u0301\u0323\u0328\u0334\u0345\u3099";  // all of other classes
  const std::u32string starters = U"aeso\u304B\u1100\uAC00\u0915x";
  for (int i = 0; i < 5000; ++i) {
    std::u32string text;
    std::u32string shuffled;
    for (int parts = 0; parts < 3; ++parts) {
      std::u32string run = marks;
      std::shuffle(run.begin(), run.end(), random);
      run.resize(random() % (marks.size() + 1));
      text += starters[random() % starters.size()];
      shuffled += text.back();
      text += run;
      std::shuffle(run.begin(), run.end(), random);
      shuffled += run;
    }
    const std::string composed = nfc(utf8(text));
    ASSERT_EQ(nfc(composed), composed);
    ASSERT_EQ(nfc(utf8(shuffled)), composed);
  }
}

TEST(StandIns, KeepLengthsAndLeaveOldCharactersAlone) {
  EXPECT_EQ(with_stand_ins("plain"), std::nullopt);
  EXPECT_EQ(with_stand_ins(utf8(U"\u00E9\u4F60\U0001F600")), std::nullopt);
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string text = utf8(std::u32string{U'a', c, U'b'});
    const auto replaced = with_stand_ins(text);
    if (!replaced) continue;
    ASSERT_EQ(replaced->size(), text.size());
    ASSERT_TRUE(is_utf8(*replaced));
    ASSERT_EQ(with_stand_ins(*replaced), std::nullopt);
  }
}

}  // namespace
}  // namespace fathom
