#include "text/gguf_tokenizer.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/gguf_test_writer.h"
#include "formats/test_folder.h"
#include "text/json_node.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::filesystem::path golden() { return std::filesystem::path(FATHOM_SOURCE_DIR) / "golden"; }

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

GgufTokenizer of_json(const std::filesystem::path& path, std::size_t vocabulary) {
  const std::string file = path.string();
  const nlohmann::json json = read_json(path);
  return gguf_tokenizer(read_tokenizer_json(JsonNode(file, json, "")), vocabulary);
}

Tokenizer read_back(const GgufTokenizer& tokenizer, const TestFolder& folder) {
  GgufTestWriter writer;
  writer.add_string("tokenizer.ggml.model", tokenizer.model)
      .add_string("tokenizer.ggml.pre", tokenizer.pre_tokenizer)
      .add_strings("tokenizer.ggml.tokens", tokenizer.tokens)
      .add_numbers("tokenizer.ggml.token_type", tokenizer.types)
      .add_strings("tokenizer.ggml.merges", tokenizer.merges)
      .add_numbers("tokenizer.ggml.scores", tokenizer.scores)
      .add_bool("tokenizer.ggml.add_bos_token", tokenizer.beginning.has_value());
  if (tokenizer.space_prefix) {
    writer.add_bool("tokenizer.ggml.add_space_prefix", *tokenizer.space_prefix);
  }
  if (tokenizer.unknown) {
    writer.add_number("tokenizer.ggml.unknown_token_id", tokenizer.unknown->value);
  }
  if (tokenizer.beginning) {
    writer.add_number("tokenizer.ggml.bos_token_id", tokenizer.beginning->value);
  }
  writer.write(folder.path() / "t.gguf");
  return Tokenizer::from_gguf(GgufFile::open(folder.path() / "t.gguf"));
}

// Token for token, on every string that the tokenizers are tested with.
TEST(GgufTokenizer, ReadBackIsTheSameTokenizer) {
  const TestFolder folder;
  const nlohmann::json strings = read_json(golden() / "hard_strings.json");
  std::set<std::string> names;
  for (const char* const name :
       {"gpt2", "smollm", "llama-bpe", "qwen2", "tekken", "llama2", "gemma"}) {
    const std::filesystem::path path = golden() / "tokenizers" / (std::string(name) + ".json");
    const Tokenizer original = Tokenizer::from_json(path);
    const GgufTokenizer converted = of_json(path, 0);
    names.insert(converted.model + "/" + converted.pre_tokenizer);
    EXPECT_THAT(converted.notes, testing::IsEmpty());
    const Tokenizer ours = read_back(converted, folder);
    ASSERT_EQ(ours.vocabulary_size(), original.vocabulary_size());
    EXPECT_EQ(ours.beginning_of_text(), original.beginning_of_text());
    ASSERT_GT(strings.size(), 100U);
    for (const auto& string : strings) {
      const auto text = string.get<std::string>();
      for (const SpecialTokens special : {SpecialTokens::recognize, SpecialTokens::as_text}) {
        const std::vector<TokenId> expected = original.encode(text, special);
        EXPECT_EQ(ours.encode(text, special), expected) << name << ": " << text;
        EXPECT_EQ(ours.decode(expected), original.decode(expected)) << name << ": " << text;
      }
    }
  }
  EXPECT_THAT(names, testing::ElementsAre("gpt2/gpt-2", "gpt2/llama-bpe", "gpt2/qwen2",
                                          "gpt2/smollm", "gpt2/tekken", "llama/default"));
}

TEST(GgufTokenizer, NamesIdsUpToTheEmbeddingsRows) {
  const std::filesystem::path path = golden() / "tokenizers" / "gpt2.json";
  const std::size_t size = Tokenizer::from_json(path).vocabulary_size();
  const GgufTokenizer tokenizer = of_json(path, size + 2);
  ASSERT_EQ(tokenizer.tokens.size(), size + 2);
  ASSERT_EQ(tokenizer.types.size(), size + 2);
  EXPECT_EQ(tokenizer.tokens.back(), "[PAD" + std::to_string(size + 1) + "]");
  EXPECT_EQ(tokenizer.types.back(), 5);
  EXPECT_EQ(of_json(path, size - 1).tokens.size(), size);
}

TEST(GgufTokenizer, RefusesWhatGgufCannotSay) {
  // A space put before every text.
  EXPECT_THAT(
      error_of<FileError>([] { of_json(golden() / "tokenizers" / "added-tokens.json", 0); }),
      AllOf(HasSubstr("added-tokens.json"), HasSubstr("pre_tokenizer")));
  const TestFolder folder;
  nlohmann::json json = read_json(golden() / "tokenizers" / "llama-bpe.json");
  json["model"]["ignore_merges"] = false;
  EXPECT_THROW(of_json(folder.write("tokenizer.json", json.dump()), 0), FileError);
}

// "llama-bpe" looks whole words up first, which changes nothing where merges make all words.
TEST(GgufTokenizer, IgnoreMergesMayDifferWhereItDoesNotMatter) {
  const TestFolder folder;
  for (const char* const name : {"gpt2", "qwen2"}) {
    nlohmann::json json = read_json(golden() / "tokenizers" / (std::string(name) + ".json"));
    const std::string pre = of_json(folder.write("tokenizer.json", json.dump()), 0).pre_tokenizer;
    json["model"]["ignore_merges"] = true;
    EXPECT_EQ(of_json(folder.write("tokenizer.json", json.dump()), 0).pre_tokenizer, pre);
    json["model"]["vocab"]["zqzqzq"] = json["model"]["vocab"].size();
    for (auto& token : json["added_tokens"]) {
      if (json["model"]["vocab"].contains(token["content"])) continue;
      token["id"] = token["id"].get<int>() + 1;
    }
    EXPECT_THAT(
        error_of<FileError>([&] { of_json(folder.write("tokenizer.json", json.dump()), 0); }),
        HasSubstr("model.ignore_merges"));
  }
}

TEST(GgufTokenizer, SaysThatANormalizerIsLost) {
  const TestFolder folder;
  nlohmann::json json = read_json(golden() / "tokenizers" / "qwen2.json");
  json.erase("normalizer");
  const GgufTokenizer tokenizer = of_json(folder.write("tokenizer.json", json.dump()), 0);
  EXPECT_EQ(tokenizer.pre_tokenizer, "qwen2");
  EXPECT_THAT(tokenizer.notes, testing::ElementsAre(HasSubstr("NFC")));
}

// A space put before a text that begins with one, or with a special token, is one too many.
TEST(GgufTokenizer, SaysThatSpacesArePutElsewhere) {
  const TestFolder folder;
  const std::filesystem::path path = golden() / "tokenizers" / "mistral.json";
  const GgufTokenizer converted = of_json(path, 0);
  EXPECT_THAT(converted.notes, testing::Contains(HasSubstr("puts a space before a text")));
  const Tokenizer original = Tokenizer::from_json(path);
  const Tokenizer ours = read_back(converted, folder);
  std::size_t compared = 0;
  for (const auto& string : read_json(golden() / "hard_strings.json")) {
    const auto text = string.get<std::string>();
    if (text.empty() || text.starts_with(' ') || text.starts_with("\u2581")) continue;
    if (text.find("ipsum dolor") != std::string::npos || text.find("<turn>") != std::string::npos) {
      continue;  // added tokens
    }
    EXPECT_EQ(ours.encode(text, SpecialTokens::as_text),
              original.encode(text, SpecialTokens::as_text))
        << text;
    ++compared;
  }
  EXPECT_GT(compared, 100U);
}

TEST(GgufTokenizer, SaysThatTokensAreSoughtInTheTextAsItIs) {
  EXPECT_THAT(of_json(golden() / "tokenizers" / "llama2-normalized.json", 0).notes,
              testing::Contains(AllOf(HasSubstr("<turn>"), HasSubstr("normalised"))));
}

TEST(GgufTokenizer, RefusesSentencePieceThatScoresCannotSay) {
  const nlohmann::json json = read_json(golden() / "tokenizers" / "llama2.json");
  const TestFolder folder;
  const auto error = [&](const nlohmann::json& changed) {
    return error_of<FileError>([&] { of_json(folder.write("tokenizer.json", changed.dump()), 0); });
  };
  const auto with = [&](const std::string& pointer, const nlohmann::json& value) {
    nlohmann::json changed = json;
    changed[nlohmann::json::json_pointer(pointer)] = value;
    return changed;
  };
  nlohmann::json changed = json;
  changed["model"]["merges"].erase(7);
  EXPECT_THAT(error(changed), AllOf(HasSubstr("model.merges"), HasSubstr("no merge of")));
  changed = json;
  auto& merges = changed["model"]["merges"];
  const auto made = [](const nlohmann::json& merge) {
    return merge[0].get<std::string>() + merge[1].get<std::string>();
  };
  std::size_t at = 1;  // the second of two merges that make the same token
  while (made(merges[at]) != made(merges[at - 1])) ++at;
  const nlohmann::json moved = merges[at];
  merges.erase(at);
  merges.push_back(moved);
  EXPECT_THAT(error(changed), HasSubstr("their order"));
  EXPECT_THAT(error(with("/normalizer", nullptr)), HasSubstr("normalizer"));
  EXPECT_THAT(error(with("/decoder/decoders/0/content", "_")), HasSubstr("decoder"));
  EXPECT_THAT(error(with("/model/ignore_merges", true)), HasSubstr("ignore_merges"));
  EXPECT_THAT(error(read_json(golden() / "tokenizers" / "splits.json")), HasSubstr("normalizer"));
}

TEST(GgufTokenizer, NamesTokensThatTakeWhiteSpace) {
  const TestFolder folder;
  nlohmann::json json = read_json(golden() / "tokenizers" / "gpt2.json");
  json["added_tokens"][0]["lstrip"] = true;
  json["model"]["unk_token"] = "<|endoftext|>";
  const GgufTokenizer tokenizer = of_json(folder.write("tokenizer.json", json.dump()), 0);
  EXPECT_THAT(tokenizer.notes, testing::ElementsAre(HasSubstr("<|endoftext|>")));
  EXPECT_EQ(tokenizer.unknown, TokenId(0));
}

}  // namespace
}  // namespace fathom
