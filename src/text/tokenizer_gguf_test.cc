#include <cmath>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.h"
#include "formats/gguf_test_writer.h"
#include "formats/test_folder.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// What the metadata of a file says: a sound tokenizer, to be changed.
struct Metadata {
  std::string model = "gpt2";
  std::string pre = "smollm";
  std::vector<std::string> tokens = {"<end>", "<tool>"};
  std::vector<std::int32_t> types = {3, 4};
  std::vector<std::string> merges = {"h i", "\u0120 hi"};
  std::uint32_t beginning = 0;
  std::uint32_t end = 0;
  bool add_beginning = false;

  Metadata() {
    for (int byte = 0; byte < 256; ++byte) {
      const auto character = static_cast<char>(byte);
      tokens.emplace_back();
      append_as_characters(tokens.back(), std::string_view(&character, 1));
    }
    tokens.emplace_back("hi");
    tokens.emplace_back("\u0120hi");
    types.resize(tokens.size(), 1);
  }
};

class TokenizerGguf : public testing::Test {
 protected:
  [[nodiscard]] Tokenizer load(const Metadata& metadata) const {
    GgufTestWriter writer;
    writer.add_string("tokenizer.ggml.model", metadata.model)
        .add_string("tokenizer.ggml.pre", metadata.pre)
        .add_strings("tokenizer.ggml.tokens", metadata.tokens)
        .add_numbers("tokenizer.ggml.token_type", metadata.types)
        .add_strings("tokenizer.ggml.merges", metadata.merges)
        .add_number("tokenizer.ggml.bos_token_id", metadata.beginning)
        .add_number("tokenizer.ggml.eos_token_id", metadata.end)
        .add_bool("tokenizer.ggml.add_bos_token", metadata.add_beginning);
    return load(writer);
  }

  [[nodiscard]] Tokenizer load(const GgufTestWriter& writer) const {
    const std::filesystem::path path = folder_.path() / "model.gguf";
    writer.write(path);
    return Tokenizer::from_gguf(GgufFile::open(path));
  }

  /// The message of the error that a change to the metadata leads to.
  [[nodiscard]] std::string error(const std::function<void(Metadata&)>& change) const {
    Metadata metadata;
    change(metadata);
    try {
      (void)load(metadata);
    } catch (const FileError& e) {
      return e.what();
    }
    return "no error";
  }

 private:
  TestFolder folder_;
};

TEST_F(TokenizerGguf, ReadsTokensAndMerges) {
  const Tokenizer t = load(Metadata());
  const auto hi = t.find("hi");
  ASSERT_TRUE(hi);
  EXPECT_THAT(t.encode("hi hi<end><tool>", SpecialTokens::recognize),
              ElementsAre(*hi, TokenId(hi->value + 1), TokenId(0), TokenId(1)));
  EXPECT_EQ(t.bytes(TokenId(hi->value + 1)), " hi");
  EXPECT_TRUE(t.is_special(TokenId(0)));
  EXPECT_FALSE(t.is_special(TokenId(1)));
  // User-defined tokens are no markup, so they stay tokens.
  const auto as_text = t.encode("<end><tool>", SpecialTokens::as_text);
  EXPECT_EQ(as_text.size(), 6);
  EXPECT_EQ(as_text.back(), TokenId(1));
  EXPECT_EQ(t.beginning_of_text(), std::nullopt);
}

TEST_F(TokenizerGguf, SaysWhatBeginsAText) {
  Metadata metadata;
  metadata.add_beginning = true;
  EXPECT_EQ(load(metadata).beginning_of_text(), TokenId(0));
}

TEST_F(TokenizerGguf, ReadsAllPreTokenizers) {
  for (const char* name : {"gpt-2", "default", "opt", "smollm", "llama-bpe", "llama3", "llama-v3",
                           "qwen2", "tekken"}) {
    Metadata metadata;
    metadata.pre = name;
    const Tokenizer t = load(metadata);
    EXPECT_EQ(t.decode(t.encode("It's 1234 hi\n\n x", SpecialTokens::recognize)),
              "It's 1234 hi\n\n x");
  }
}

TEST_F(TokenizerGguf, NamesWhatIsWrong) {
  EXPECT_THAT(error([](Metadata& m) { m.model = "bert"; }), HasSubstr("tokenizer.ggml.model"));
  EXPECT_THAT(error([](Metadata& m) { m.model = "llama"; }), HasSubstr("tokenizer.ggml.scores"));
  EXPECT_THAT(error([](Metadata& m) { m.pre = "bloom"; }), HasSubstr("bloom"));
  EXPECT_THAT(error([](Metadata& m) { m.tokens.back() = "hi"; }), HasSubstr("tokens[259]"));
  EXPECT_THAT(error([](Metadata& m) { m.tokens.back() = "\xFF"; }), HasSubstr("UTF-8"));
  EXPECT_THAT(error([](Metadata& m) { m.tokens[0] = ""; }), HasSubstr("token_type[0]"));
  EXPECT_THAT(error([](Metadata& m) { m.tokens.pop_back(); }), HasSubstr("260 types for 259"));
  EXPECT_THAT(error([](Metadata& m) { m.tokens.clear(), m.types.clear(); }),
              HasSubstr("vocabulary of 0"));
  EXPECT_THAT(error([](Metadata& m) { m.types[3] = 0; }), HasSubstr("token_type[3]"));
  EXPECT_THAT(error([](Metadata& m) { m.types[3] = 6; }), HasSubstr("byte token"));
  EXPECT_THAT(error([](Metadata& m) { m.merges[1] = "hi hi"; }), HasSubstr("merges[1]"));
  EXPECT_THAT(error([](Metadata& m) { m.merges[1] = "zz h"; }), HasSubstr("merges[1]"));
  EXPECT_THAT(error([](Metadata& m) { m.merges[1] = "hi"; }), HasSubstr("merges[1]"));
  EXPECT_THAT(error([](Metadata& m) { m.merges[1] = "h i "; }), HasSubstr("merges[1]"));
  EXPECT_THAT(error([](Metadata& m) { m.merges[1] = ""; }), HasSubstr("merges[1]"));
  EXPECT_THAT(error([](Metadata& m) { m.beginning = 260; }), HasSubstr("bos_token_id"));
  EXPECT_THAT(error([](Metadata& m) { m.end = 0xFFFFFFFF; }), HasSubstr("eos_token_id"));
}

/// The metadata of a small tokenizer of SentencePiece's kind, to be changed.
struct Pieces {
  std::vector<std::string> tokens = {"<unk>", "<s>",    "<0x21>",  "a", "b",
                                     "ab",    "\u2581", "\u2581a", "ba"};
  std::vector<std::int32_t> types = {2, 3, 6, 1, 1, 1, 1, 1, 1};
  std::vector<float> scores = {0, 0, 0, -5, -6, -1, -7, -2, -1};
  bool add_space_prefix = true;
  bool remove_extra_whitespaces = false;
  bool add_end = false;
};

class SentencePieceGguf : public TokenizerGguf {
 protected:
  using TokenizerGguf::load;

  [[nodiscard]] Tokenizer load(const Pieces& pieces) const {
    GgufTestWriter writer;
    writer.add_string("tokenizer.ggml.model", "llama")
        .add_string("tokenizer.ggml.pre", "default")
        .add_strings("tokenizer.ggml.tokens", pieces.tokens)
        .add_numbers("tokenizer.ggml.token_type", pieces.types)
        .add_numbers("tokenizer.ggml.scores", pieces.scores)
        .add_number("tokenizer.ggml.bos_token_id", std::uint32_t{1})
        .add_bool("tokenizer.ggml.add_space_prefix", pieces.add_space_prefix)
        .add_bool("tokenizer.ggml.remove_extra_whitespaces", pieces.remove_extra_whitespaces)
        .add_bool("tokenizer.ggml.add_eos_token", pieces.add_end);
    return load(writer);
  }

  [[nodiscard]] std::string error(const std::function<void(Pieces&)>& change) const {
    Pieces pieces;
    change(pieces);
    try {
      (void)load(pieces);
    } catch (const FileError& e) {
      return e.what();
    }
    return "no error";
  }
};

TEST_F(SentencePieceGguf, JoinsTheHighestScoreFirstAndTheLeftmostAmongEquals) {
  Pieces pieces;
  pieces.add_space_prefix = false;
  const Tokenizer t = load(pieces);
  const auto encoded = [&](std::string_view text) {
    std::vector<std::int32_t> ids;
    for (const TokenId id : t.encode(text, SpecialTokens::recognize)) ids.push_back(id.value);
    return ids;
  };
  EXPECT_THAT(encoded("aba"), ElementsAre(5, 3));  // "ab" and "ba" have the same score
  EXPECT_THAT(encoded("bab"), ElementsAre(8, 4));
  EXPECT_THAT(encoded(" ab"), ElementsAre(6, 5));  // "ab" before " a"
  EXPECT_THAT(encoded("a!a"), ElementsAre(3, 2, 3));
  EXPECT_THAT(encoded("a??a"), ElementsAre(3, 0, 3));  // one unknown token for both
  EXPECT_THAT(encoded("<s>a<unk>"), ElementsAre(1, 3, 0));
  EXPECT_EQ(t.beginning_of_text(), TokenId(1));
  EXPECT_EQ(t.decode(std::vector{TokenId(7), TokenId(2)}), " a!");
}

TEST_F(SentencePieceGguf, PutsASpaceBeforeTextsUnlessItIsTold) {
  const Tokenizer t = load(Pieces());
  EXPECT_THAT(t.encode("a<s>a", SpecialTokens::recognize),
              ElementsAre(TokenId(7), TokenId(1), TokenId(7)));
  EXPECT_EQ(t.decode(std::vector{TokenId(7), TokenId(7)}), "a a");
}

TEST_F(SentencePieceGguf, NamesWhatIsWrong) {
  EXPECT_EQ(error([](Pieces&) {}), "no error");
  EXPECT_THAT(error([](Pieces& p) { p.scores.pop_back(); }), HasSubstr("8 scores for 9 tokens"));
  EXPECT_THAT(error([](Pieces& p) { p.scores[4] = std::nanf(""); }), HasSubstr("scores[4]"));
  EXPECT_THAT(error([](Pieces& p) { p.tokens[2] = "<0x2>"; }), HasSubstr("token_type[2]"));
  EXPECT_THAT(error([](Pieces& p) { p.tokens[3] = std::string(5000, 'x'); }),
              HasSubstr("a token of 5000 bytes"));
  EXPECT_THAT(error([](Pieces& p) { p.remove_extra_whitespaces = true; }),
              HasSubstr("remove_extra_whitespaces"));
  EXPECT_THAT(error([](Pieces& p) { p.add_end = true; }), HasSubstr("add_eos_token"));
}

TEST_F(TokenizerGguf, NamesWhatIsMissing) {
  const auto message = [&](const GgufTestWriter& writer) {
    try {
      (void)load(writer);
    } catch (const FileError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  GgufTestWriter writer;
  EXPECT_THAT(message(writer), HasSubstr("tokenizer.ggml.model"));
  writer.add_string("tokenizer.ggml.model", "gpt2");
  EXPECT_THAT(message(writer), HasSubstr("tokenizer.ggml.tokens"));
  writer.add_strings("tokenizer.ggml.tokens", {"a"});
  EXPECT_THAT(message(writer), HasSubstr("tokenizer.ggml.merges"));
  writer.add_strings("tokenizer.ggml.merges", {});
  EXPECT_EQ(message(writer), "");
  writer.add_bool("tokenizer.ggml.add_bos_token", true);
  EXPECT_THAT(message(writer), HasSubstr("add_bos_token"));
}

TEST_F(TokenizerGguf, DamagedMetadataGivesErrorsOrWorks) {
  std::mt19937 random(15);
  const auto damage = [&](std::string& text) {
    if (random() % 2 == 0) text += static_cast<char>(random());
    if (!text.empty() && random() % 2 == 0)
      text[random() % text.size()] = static_cast<char>(random());
  };
  for (int i = 0; i < 500; ++i) {
    Metadata metadata;
    switch (random() % 4) {
      case 0:
        damage(metadata.tokens[random() % metadata.tokens.size()]);
        break;
      case 1:
        damage(metadata.merges[random() % metadata.merges.size()]);
        break;
      case 2:
        metadata.types[random() % metadata.types.size()] = static_cast<std::int32_t>(random() % 8);
        break;
      default:
        metadata.beginning = static_cast<std::uint32_t>(random());
    }
    try {
      const Tokenizer t = load(metadata);
      (void)t.decode(t.encode("hi hi <end> 12 \xC3\xA9", SpecialTokens::recognize));
    } catch (const FileError&) {
      continue;
    }
  }
}

}  // namespace
}  // namespace fathom
