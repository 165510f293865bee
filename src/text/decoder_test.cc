#include "text/decoder.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace fathom {
namespace {

using testing::ElementsAre;

/// What comes out with each token, and at the end.
std::vector<std::string> stream(const DecoderRules& rules, const std::vector<std::string>& tokens) {
  DecodingState state(rules);
  std::vector<std::string> pieces;
  for (const std::string& token : tokens) {
    const TokenMeaning meaning =
        state.at_start() ? meaning_of_first(token, rules) : meaning_of(token, rules);
    pieces.push_back(state.push(meaning.bytes, meaning.kind, rules));
  }
  pieces.push_back(state.flush(rules));
  EXPECT_TRUE(state.at_start());
  return pieces;
}

const DecoderRules sentencepiece{.tokens = DecoderRules::Tokens::characters_or_byte,
                                 .replacements = {{"\u2581", " "}},
                                 .strip = DecoderRules::Strip{" ", 1}};

TEST(Decoder, ARunOfBytesWaitsForItsEnd) {
  EXPECT_THAT(stream(sentencepiece, {"x", "<0xE6>", "<0xB5>", "<0xB7>", "\u2581y"}),
              ElementsAre("x", "", "", "", "\u6d77 y", ""));
  EXPECT_THAT(stream(sentencepiece, {"<0x41>", "<0x42>"}), ElementsAre("", "", "AB"));
}

TEST(Decoder, OneWrongByteSpoilsItsRun) {
  EXPECT_THAT(stream(sentencepiece, {"<0x41>", "<0xFF>", "x", "<0x41>"}),
              ElementsAre("", "", "\ufffd\ufffdx", "", "A"));
}

TEST(Decoder, OnlyTheFirstSpaceOfATextIsLeftOut) {
  EXPECT_THAT(stream(sentencepiece, {"\u2581\u2581a", "\u2581b"}), ElementsAre(" a", " b", ""));
  EXPECT_THAT(stream(sentencepiece, {"\u2581", "\u2581", "a"}), ElementsAre("", " ", "a", ""));
  EXPECT_THAT(stream(sentencepiece, {"<s>", "\u2581a"}), ElementsAre("<s>", " a", ""));
  EXPECT_THAT(stream(sentencepiece, {"<0x20>", "\u2581a"}), ElementsAre("", " a", ""));
  EXPECT_THAT(stream(sentencepiece, {}), ElementsAre(""));
}

TEST(Decoder, TheFirstTokenLosesAllItsSpaces) {
  const DecoderRules metaspace{.tokens = DecoderRules::Tokens::characters,
                               .replacements = {{"_", " "}},
                               .not_in_first = "_"};
  EXPECT_THAT(stream(metaspace, {"_a_b", "_c"}), ElementsAre("ab", " c", ""));
  EXPECT_THAT(stream(metaspace, {"<0x41>", "_"}), ElementsAre("<0x41>", " ", ""));
}

TEST(Decoder, NamesOfBytes) {
  EXPECT_EQ(byte_named_by("<0x0A>"), 10);
  EXPECT_EQ(byte_named_by("<0xfF>"), 255);
  for (const char* const other : {"", "<0x0A", "<0x0G>", "<0x00A>", "<0X0A>", "x0x0A>", "<0x0A)"}) {
    EXPECT_EQ(byte_named_by(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace fathom
