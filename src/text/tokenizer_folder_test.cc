#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/test_folder.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path tokenizers = FATHOM_SOURCE_DIR "/golden/tokenizers";

json read(const std::filesystem::path& path) { return json::parse(std::ifstream(path)); }

class TokenizerFolder : public testing::Test {
 protected:
  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

  void copy(const std::filesystem::path& from, std::string_view name) const {
    std::filesystem::copy(tokenizers / from, path() / name);
  }
  void copy_opt() const {
    for (const auto& entry : std::filesystem::directory_iterator(tokenizers / "opt")) {
      std::filesystem::copy(entry.path(), path() / entry.path().filename());
    }
  }
  void write(std::string_view name, const json& value) const { folder_.write(name, value.dump()); }

  /// The message of the error that opening leads to.
  [[nodiscard]] std::string error() const {
    try {
      (void)Tokenizer::from_folder(path(), std::nullopt);
    } catch (const FileError& e) {
      return e.what();
    }
    return "no error";
  }

 private:
  TestFolder folder_;
};

TEST_F(TokenizerFolder, TokenizerJsonGoesFirst) {
  copy_opt();
  EXPECT_EQ(Tokenizer::from_folder(path(), std::nullopt).find("<|endoftext|>"), std::nullopt);
  copy("gpt2.json", "tokenizer.json");
  std::filesystem::remove(path() / "tokenizer_config.json");
  EXPECT_NE(Tokenizer::from_folder(path(), std::nullopt).find("<|endoftext|>"), std::nullopt);
}

TEST_F(TokenizerFolder, TheConfigSaysWhatBeginsATextWhereTokenizerJsonDoesNot) {
  copy("gpt2.json", "tokenizer.json");
  EXPECT_EQ(Tokenizer::from_folder(path(), std::nullopt).beginning_of_text(), std::nullopt);
  write("tokenizer_config.json", {{"add_bos_token", true}, {"bos_token", "<|endoftext|>"}});
  const Tokenizer t = Tokenizer::from_folder(path(), std::nullopt);
  EXPECT_EQ(t.beginning_of_text(), t.find("<|endoftext|>"));
  write("tokenizer_config.json",
        {{"add_bos_token", true}, {"bos_token", {{"content", "<|endoftext|>"}}}});
  EXPECT_EQ(Tokenizer::from_folder(path(), std::nullopt).beginning_of_text(),
            t.find("<|endoftext|>"));
  write("tokenizer_config.json", {{"add_bos_token", true}, {"bos_token", "<s>"}});
  EXPECT_THAT(error(), HasSubstr("add_bos_token: the token '<s>' is not in the vocabulary"));
  write("tokenizer_config.json", {{"add_bos_token", true}});
  EXPECT_EQ(Tokenizer::from_folder(path(), std::nullopt).beginning_of_text(), std::nullopt);
}

TEST_F(TokenizerFolder, TheConfigGoesBeforeTheTemplate) {
  copy("llama2.json", "tokenizer.json");
  EXPECT_EQ(Tokenizer::from_folder(path(), std::nullopt).beginning_of_text(), TokenId(1));
  write("tokenizer_config.json", {{"bos_token", "<s>"}});
  EXPECT_EQ(Tokenizer::from_folder(path(), std::nullopt).beginning_of_text(), TokenId(1));
  write("tokenizer_config.json", {{"bos_token", "<s>"}, {"add_bos_token", false}});
  EXPECT_EQ(Tokenizer::from_folder(path(), std::nullopt).beginning_of_text(), std::nullopt);
  write("tokenizer_config.json", {{"add_eos_token", true}});
  EXPECT_THAT(error(), HasSubstr("add_eos_token: a token after every text"));
}

TEST_F(TokenizerFolder, OptBeginsTextsAndKnowsItsSpecialTokens) {
  const Tokenizer t = Tokenizer::from_folder(tokenizers / "opt", std::nullopt);
  EXPECT_EQ(t.beginning_of_text(), t.find("</s>"));
  for (const char* const text : {"</s>", "<pad>"}) {
    EXPECT_TRUE(t.is_special(t.find(text).value())) << text;
    EXPECT_EQ(t.encode(text, SpecialTokens::recognize).size(), 1) << text;
    EXPECT_GT(t.encode(text, SpecialTokens::as_text).size(), 1) << text;
  }
}

TEST_F(TokenizerFolder, AddedTokensThatTheModelHasNoRowForAreLeftOut) {
  copy("mistral.json", "tokenizer.json");
  const Tokenizer all = Tokenizer::from_folder(path(), std::nullopt);
  const auto last = TokenId(static_cast<std::int32_t>(all.vocabulary_size()) - 1);
  const std::string text(all.bytes(last));
  EXPECT_EQ(Tokenizer::from_folder(path(), all.vocabulary_size()).find(text), last);
  const Tokenizer fewer = Tokenizer::from_folder(path(), all.vocabulary_size() - 1);
  EXPECT_EQ(fewer.vocabulary_size(), all.vocabulary_size() - 1);
  EXPECT_EQ(fewer.find(text), std::nullopt);
  EXPECT_GT(fewer.encode(text, SpecialTokens::recognize).size(), 1);
  // Tokens that merges make stay, whatever the model has.
  EXPECT_EQ(Tokenizer::from_folder(path(), 10).vocabulary_size(), all.vocabulary_size() - 2);
}

TEST_F(TokenizerFolder, NamesWhatIsMissing) {
  EXPECT_THAT(error(), HasSubstr("tokenizer.json: missing; it or vocab.json with merges.txt"));
  copy("opt/vocab.json", "vocab.json");
  EXPECT_THAT(error(), HasSubstr("vocab.json alone is not supported"));
  write("tokenizer.model", {});
  EXPECT_THAT(error(), HasSubstr("tokenizer.model alone is not supported"));
}

TEST_F(TokenizerFolder, NamesWhatIsWrong) {
  copy_opt();
  const json config = read(path() / "tokenizer_config.json");
  const auto with = [&](std::string_view key, const json& value) {
    json changed = config;
    changed[std::string(key)] = value;
    write("tokenizer_config.json", changed);
    return error();
  };
  EXPECT_EQ(with("unused", 1), "no error");
  EXPECT_THAT(with("tokenizer_class", "RobertaTokenizer"), HasSubstr("RobertaTokenizer"));
  EXPECT_THAT(with("mask_token", "<mask>"), HasSubstr("mask_token: the token '<mask>' is neither"));
  EXPECT_THAT(with("bos_token", 3), HasSubstr("bos_token: found number"));
  EXPECT_THAT(with("added_tokens_decoder", {{"x", {{"content", "y"}}}}), HasSubstr("no id"));
  EXPECT_THAT(with("added_tokens_decoder", {{"999999", {{"content", "<y>"}}}}), HasSubstr("hole"));
  EXPECT_THAT(with("added_tokens_decoder", {{"7", {{"content", "</s>"}}}}),
              HasSubstr("the id 7 of '</s>' is 2 in vocab.json"));
  write("tokenizer_config.json", config);
  std::ofstream(path() / "merges.txt") << "#version: 0.2\n\xC4\xA0 t\r\nno\n";
  EXPECT_THAT(error(), HasSubstr("merges.txt: line 3: not two tokens"));
  write("vocab.json", {{"a", 0}, {"b", 5}});
  EXPECT_THAT(error(), HasSubstr("vocab.json"));
}

}  // namespace
}  // namespace fathom
