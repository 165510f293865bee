#include "text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/test_folder.h"
#include "text/unicode.h"

namespace fathom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path golden_folder = FATHOM_SOURCE_DIR "/golden";

std::filesystem::path default_model() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string model = variable("FATHOM_MODEL"); !model.empty()) return model;
  const std::string cache = variable("XDG_CACHE_HOME");
  return (cache.empty() ? std::filesystem::path(variable("HOME")) / ".cache"
                        : std::filesystem::path(cache)) /
         "fathom" / "SmolLM2-135M-Instruct.Q4_1.gguf";
}

std::filesystem::path small_tokenizer(std::string_view name) {
  return golden_folder / "tokenizers" / (std::string(name) + ".json");
}

Tokenizer small_tokenizer_gguf(std::string_view name) {
  return Tokenizer::from_gguf(
      GgufFile::open(golden_folder / "tokenizers" / (std::string(name) + ".gguf")));
}

json read_golden(std::string_view name) {
  std::ifstream file(golden_folder / name);
  return json::parse(file);
}

std::vector<std::string> hard_strings() {
  return read_golden("hard_strings.json").get<std::vector<std::string>>();
}

std::vector<TokenId> ids_of(const json& numbers) {
  std::vector<TokenId> ids;
  for (const json& number : numbers) ids.emplace_back(number.get<std::int32_t>());
  return ids;
}

/// The golden of each tokenizer, by its name there. A name with ".gguf" is the GGUF file of the
/// tokenizer.json of that name and must give the same.
class Golden : public testing::TestWithParam<const char*> {
 protected:
  static std::string name() {
    const std::string_view param = GetParam();
    return std::string(param.substr(0, param.find(".gguf")));
  }
  static const json& values() {
    static const json all = read_golden("tokens.json");
    return all.at(name());
  }
  static Tokenizer tokenizer() {
    if (GetParam() == std::string_view("default-model")) return default_tokenizer();
    if (GetParam() != name()) return small_tokenizer_gguf(name());
    const std::filesystem::path folder = golden_folder / "tokenizers" / name();
    if (std::filesystem::is_directory(folder)) return Tokenizer::from_folder(folder, std::nullopt);
    return Tokenizer::from_json(small_tokenizer(name()));
  }

 private:
  static Tokenizer default_tokenizer() {
    if (!std::filesystem::exists(default_model())) {
      throw std::runtime_error("the default model is not at " + default_model().string() +
                               "; `make model` gets it");
    }
    return Tokenizer::from_gguf(GgufFile::open(default_model()));
  }
};

INSTANTIATE_TEST_SUITE_P(Tokenizer, Golden,
                         testing::Values("default-model", "gpt2", "gpt2.gguf", "smollm",
                                         "smollm.gguf", "llama-bpe", "llama-bpe.gguf", "qwen2",
                                         "qwen2.gguf", "tekken", "tekken.gguf", "unknown-bytes",
                                         "added-tokens", "llama2", "llama2.gguf",
                                         "llama2-normalized", "mistral", "gemma", "gemma.gguf",
                                         "splits", "fused-unknown", "opt", "gpt2-files"),
                         [](const auto& named) {
                           std::string name = named.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return c == '-' || c == '.'; }, '_');
                           return name;
                         });

TEST_P(Golden, BeginsTextsAsHuggingFaceDoes) {
  const std::vector<TokenId> expected = ids_of(values()["beginning"]);
  const auto beginning = tokenizer().beginning_of_text();
  EXPECT_EQ(beginning ? std::vector{*beginning} : std::vector<TokenId>(), expected);
}

TEST_P(Golden, EncodesAsHuggingFaceDoes) {
  const Tokenizer t = tokenizer();
  EXPECT_EQ(t.vocabulary_size(), values()["size"].get<std::size_t>());
  const std::vector<std::string> strings = hard_strings();
  ASSERT_GE(strings.size(), 200);
  for (std::size_t i = 0; i < strings.size(); ++i) {
    const json& ids = values()["ids"][i];
    const json as_text = values()["ids_as_text"].value(std::to_string(i), ids);
    EXPECT_EQ(t.encode(strings[i], SpecialTokens::recognize), ids_of(ids)) << json(strings[i]);
    EXPECT_EQ(t.encode(strings[i], SpecialTokens::as_text), ids_of(as_text)) << json(strings[i]);
  }
}

TEST_P(Golden, DecodesAsHuggingFaceDoes) {
  const Tokenizer t = tokenizer();
  const std::vector<std::string> strings = hard_strings();
  for (std::size_t i = 0; i < strings.size(); ++i) {
    const std::string expected = values()["decoded"].value(std::to_string(i), strings[i]);
    EXPECT_EQ(t.decode(ids_of(values()["ids"][i])), expected);
  }
  for (std::size_t i = 0; i < values()["random_ids"].size(); ++i) {
    EXPECT_EQ(t.decode(ids_of(values()["random_ids"][i])),
              values()["random_texts"][i].get<std::string>());
  }
}

TEST_P(Golden, AStreamGivesTheSameText) {
  const Tokenizer t = tokenizer();
  std::mt19937 random(11);
  StreamDecoder stream(t);
  for (int round = 0; round < 300; ++round) {
    std::vector<TokenId> ids;
    for (std::size_t n = random() % 40; n > 0; --n) {
      ids.emplace_back(static_cast<std::int32_t>(random() % t.vocabulary_size()));
    }
    std::string text;
    for (const TokenId id : ids) {
      const std::string piece = stream.push(id);
      ASSERT_TRUE(is_utf8(piece));
      text += piece;
    }
    text += stream.flush();
    ASSERT_EQ(text, t.decode(ids));
  }
}

TEST_P(Golden, EveryTokenIsFoundByItsText) {
  const Tokenizer t = tokenizer();
  std::size_t special = 0;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(t.vocabulary_size()); ++i) {
    if (!t.is_special(TokenId(i))) continue;
    ++special;
    EXPECT_EQ(t.find(t.bytes(TokenId(i))), TokenId(i));
    EXPECT_EQ(t.encode(t.bytes(TokenId(i)), SpecialTokens::recognize), std::vector{TokenId(i)});
  }
  EXPECT_GE(special, 1);
  EXPECT_EQ(t.find("no such token"), std::nullopt);
}

TEST_P(Golden, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer t = tokenizer();
  for (const TokenId id : {TokenId(-1), TokenId(static_cast<std::int32_t>(t.vocabulary_size())),
                           TokenId(std::numeric_limits<std::int32_t>::max())}) {
    EXPECT_THROW((void)t.bytes(id), InputError);
    EXPECT_THROW((void)t.is_special(id), InputError);
    EXPECT_THROW((void)t.decode(std::vector{id}), InputError);
    EXPECT_THROW((void)StreamDecoder(t).push(id), InputError);
  }
}

std::string random_text(std::mt19937& random) {
  const std::vector<std::string> parts = {
      "<|endoftext|>", "<|im_end|>", " ", "  ", "\n", "'S", "12"};
  std::string text;
  for (std::size_t n = random() % 30; n > 0; --n) {
    const std::size_t kind = random() % 8;
    if (kind == 0) {
      text += parts[random() % parts.size()];
    } else {
      const char32_t most = kind < 4 ? 0x80 : kind < 6 ? 0x800 : kind < 7 ? 0x10000 : 0x110000;
      const char32_t c = static_cast<char32_t>(random()) % most;
      append_utf8(text, c >= 0xD800 && c < 0xE000 ? U'x' : c);
    }
  }
  return text;
}

TEST(Tokenizer, DecodingGivesTheTextBack) {
  std::mt19937 random(12);
  for (const char* name : {"gpt2", "llama-bpe"}) {
    const Tokenizer t = Tokenizer::from_json(small_tokenizer(name));
    for (int i = 0; i < 3000; ++i) {
      const std::string text = random_text(random);
      ASSERT_EQ(t.decode(t.encode(text, SpecialTokens::recognize)), text);
      ASSERT_EQ(t.decode(t.encode(text, SpecialTokens::as_text)), text);
    }
  }
  const Tokenizer t = Tokenizer::from_json(small_tokenizer("qwen2"));
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_text(random);
    ASSERT_EQ(t.decode(t.encode(text, SpecialTokens::as_text)), nfc(text));
  }
}

TEST(Tokenizer, BytesThatAreNoUtf8CountAsReplacementCharacters) {
  const Tokenizer t = Tokenizer::from_json(small_tokenizer("gpt2"));
  std::mt19937 random(13);
  for (int i = 0; i < 3000; ++i) {
    std::string text = random_text(random);
    for (std::size_t n = random() % 5; n > 0 && !text.empty(); --n) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    ASSERT_EQ(t.decode(t.encode(text, SpecialTokens::recognize)), replace_ill_formed(text));
  }
}

TEST(Tokenizer, LongRunsTakeLittleTime) {
  const std::size_t size = 200'000;
  std::string spaced_lines;
  while (spaced_lines.size() < size) spaced_lines += std::string(1000, ' ') + "\n";
  for (const char* name : {"smollm", "llama-bpe", "llama2", "gemma"}) {
    const Tokenizer t = Tokenizer::from_json(small_tokenizer(name));
    for (const std::string& text :
         {std::string(size, ' '), std::string(size, '\n'), std::string(size, 'a'),
          std::string(size, '1'), std::string(size, '!'), std::string(size, '\'') + " x",
          std::string(size, ' ') + "x", spaced_lines}) {
      const auto begin = std::chrono::steady_clock::now();
      const auto ids = t.encode(text, SpecialTokens::recognize);
      const auto time = std::chrono::steady_clock::now() - begin;
      EXPECT_LT(time, std::chrono::seconds(6));  // quadratic work would take a minute
      // This vocabulary has no token for the end of a line.
      if (std::string_view(name) == "smollm") continue;
      EXPECT_EQ(t.decode(ids), text);
    }
  }
}

TEST(Tokenizer, AStreamLeavesTheFirstSpaceOut) {
  const Tokenizer t = Tokenizer::from_json(small_tokenizer("llama2"));
  const std::vector<TokenId> ids = t.encode("the \u9f98 the", SpecialTokens::recognize);
  StreamDecoder stream(t);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::string> pieces;
    for (const TokenId id : ids) pieces.push_back(stream.push(id));
    pieces.push_back(stream.flush());
    // The character comes out whole, once the token after its bytes is there.
    EXPECT_THAT(pieces, testing::ElementsAre("the", " ", "", "", "", "\u9f98 the", ""));
  }
  EXPECT_EQ(t.bytes(ids.front()), " the");
}

TEST(Tokenizer, SaysWhatBeginsAText) {
  const Tokenizer llama = Tokenizer::from_json(small_tokenizer("llama-bpe"));
  EXPECT_EQ(llama.beginning_of_text(), llama.find("<|begin_of_text|>"));
  EXPECT_NE(llama.beginning_of_text(), std::nullopt);
  EXPECT_EQ(Tokenizer::from_json(small_tokenizer("gpt2")).beginning_of_text(), std::nullopt);
}

// Damaged files of tokenizer.json.

/// How loading ended: "" or the error's text. Whatever loads must also work.
std::string outcome(const TestFolder& folder, std::string_view text) {
  const std::filesystem::path path = folder.write("tokenizer.json", text);
  try {
    const Tokenizer t = Tokenizer::from_json(path);
    const auto ids = t.encode("Hello <|im_end|> 12 \xC3\xA9", SpecialTokens::recognize);
    (void)t.decode(ids);
    return "";
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
    return error.what();
  } catch (const InputError& error) {
    return error.what();  // encode, of a pattern that came to backtrack
  }
}

struct Edit {
  const char* pointer;
  const char* value;
  const char* message;
};

TEST(TokenizerJson, NamesWhatIsNotSupported) {
  const TestFolder folder;
  const json sound = json::parse(std::ifstream(small_tokenizer("qwen2")));
  ASSERT_EQ(outcome(folder, sound.dump()), "");
  const std::vector<Edit> edits = {
      {"/model/type", R"("Unigram")", "Unigram"},
      {"/model/dropout", "0.1", "dropout"},
      {"/model/end_of_word_suffix", R"("</w>")", "end_of_word_suffix"},
      {"/model/continuing_subword_prefix", R"("##")", "continuing_subword_prefix"},
      {"/normalizer", R"({"type":"Lowercase"})", "Lowercase"},
      {"/normalizer", R"({"type":"NFKC"})", "NFKC"},
      {"/normalizer",
       R"({"type":"Prepend","prepend":"12345678901234567890123456789012345678901234567890123456789012345"})",
       "65 bytes, 64 at most"},
      {"/normalizer", R"({"type":"Replace","pattern":{"Regex":"a"},"content":""})", "Regex"},
      {"/normalizer", R"({"type":"Replace","pattern":{"String":""},"content":""})", "empty"},
      {"/normalizer",
       R"({"type":"Replace","pattern":{"String":"a"},"content":"01234567890123456"})",
       "16 times longer"},
      {"/pre_tokenizer", R"({"type":"Whitespace"})", "Whitespace"},
      {"/pre_tokenizer", R"({"type":"Metaspace"})", "replacement"},
      {"/pre_tokenizer", R"({"type":"Metaspace","replacement":"_","prepend_scheme":"last"})",
       "prepend_scheme 'last'"},
      {"/pre_tokenizer/pretokenizers/0/behavior", R"("Merged")", "Merged"},
      {"/pre_tokenizer/pretokenizers/0/pattern", R"({"Regex":"\\w+"})", "\\w"},
      {"/pre_tokenizer/pretokenizers/0/pattern", R"({"Regex":"("})", "pattern"},
      {"/pre_tokenizer/pretokenizers/0", R"({"type":"ByteLevel"})", "after ByteLevel"},
      {"/decoder", "null", "decoder"},
      {"/decoder/type", R"("WordPiece")", "WordPiece"},
      {"/decoder", R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]})",
       "decoders[1]: the decoder 'ByteFallback' at this place"},
      {"/decoder", R"({"type":"Strip","content":" ","start":1,"stop":0})", "after Fuse"},
      {"/decoder",
       R"({"type":"Sequence","decoders":[{"type":"Fuse"},)"
       R"({"type":"Strip","content":" ","start":0,"stop":1}]})",
       "stop: stripping at the end"},
      {"/model/unk_token", R"("none")", "model.unk_token"},
      {"/post_processor", R"({"type":"BertProcessing"})", "BertProcessing"},
      {"/post_processor",
       R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},)"
       R"({"SpecialToken":{"id":"x"}}],"special_tokens":{}})",
       "single[1]: a token after the text"},
      {"/model/vocab", "null", "vocab"},
      {"/model/vocab", "[]", "model.vocab"},
      {"/model/vocab", "{}", "hole"},
      {"/model/vocab/a", "-1", "no id"},
      {"/model/vocab/a", "100000", "hole"},
      {"/model/vocab/a", "0", "id 0"},
      {"/model/merges/3", R"(["a","no such token"])", "merges[3]"},
      {"/model/merges/3", R"("ab")", "merges[3]"},
      {"/model/merges/3", R"("a b c")", "merges[3]"},
      {"/model/merges/3", R"(["a"])", "merges[3]"},
      {"/model/merges", R"({})", "model.merges"},
      {"/added_tokens/0/id", "7", "id 7"},
      {"/added_tokens/0/id", "18446744073709551615", "hole"},
      {"/added_tokens/0/content", R"("")", "without text"},
      {"/added_tokens/0/special", "3", "added_tokens[0].special"},
      {"/added_tokens/1/content", R"("<|endoftext|>")", "<|endoftext|>"},
      {"/post_processor",
       R"({"type":"TemplateProcessing","single":[{"SpecialToken":)"
       R"({"id":"\u001b[2J"}}],"special_tokens":{}})",
       R"(special_tokens: "\x1b[2J" is missing)"},
  };
  for (const Edit& edit : edits) {
    json damaged = sound;
    damaged[json::json_pointer(edit.pointer)] = json::parse(edit.value);
    EXPECT_THAT(outcome(folder, damaged.dump()), HasSubstr(edit.message))
        << edit.pointer << " = " << edit.value;
  }
  json fallback = json::parse(std::ifstream(small_tokenizer("smollm")));
  fallback["model"]["byte_fallback"] = true;
  EXPECT_THAT(outcome(folder, fallback.dump()), HasSubstr("byte_fallback is not supported"));
  json no_id = sound;
  no_id["added_tokens"][0]["content"] = "\x1b[2J";
  no_id["model"]["vocab"]["\x1b[2J"] = true;
  EXPECT_THAT(outcome(folder, no_id.dump()), HasSubstr(R"(model.vocab.\x1b[2J: found boolean)"));
  EXPECT_THAT(outcome(folder, "[]"), HasSubstr("object"));
  EXPECT_THAT(outcome(folder, ""), HasSubstr("tokenizer.json"));
}

void collect(json& node, std::vector<json*>& nodes) {
  nodes.push_back(&node);
  // Most of the file is the vocabulary and the merges: a few of each are enough.
  std::size_t count = 0;
  if (node.is_structured()) {
    for (json& child : node) {
      if (++count <= 30) collect(child, nodes);
    }
  }
}

TEST(TokenizerJson, DamagedFilesGiveErrorsOrWork) {
  const TestFolder folder;
  std::mt19937 random(14);
  const std::vector<json> values = {nullptr,
                                    true,
                                    -1,
                                    0,
                                    5,
                                    1e300,
                                    "",
                                    "a",
                                    "ByteLevel",
                                    json::array(),
                                    json::object(),
                                    json::array({1, "a"})};
  for (const char* name : {"gpt2", "llama-bpe", "added-tokens", "mistral", "gemma", "splits"}) {
    const json sound = json::parse(std::ifstream(small_tokenizer(name)));
    for (int i = 0; i < 200; ++i) {
      json damaged = sound;
      std::vector<json*> nodes;
      collect(damaged, nodes);
      *nodes[random() % nodes.size()] = values[random() % values.size()];
      (void)outcome(folder, damaged.dump());
    }
    const std::string text = sound.dump();
    for (int i = 0; i < 200; ++i) {
      std::string damaged = text;
      for (std::size_t n = random() % 3; n > 0; --n) {
        damaged[random() % damaged.size()] = static_cast<char>(random());
      }
      if (i % 4 == 0) damaged.resize(random() % damaged.size());
      (void)outcome(folder, damaged);
    }
  }
}

}  // namespace
}  // namespace fathom
