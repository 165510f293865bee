#include "model/model_config.h"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/gguf.h"
#include "formats/gguf_test_writer.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// ---- config.json --------------------------------------------------------------------------------

nlohmann::json llama_json() {
  return {{"model_type", "llama"},    {"num_hidden_layers", 4},
          {"hidden_size", 64},        {"intermediate_size", 96},
          {"vocab_size", 384},        {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"max_position_embeddings", 256},
          {"rms_norm_eps", 1e-5},     {"tie_word_embeddings", true},
          {"rope_theta", 5000.0}};
}

ModelConfig read(const nlohmann::json& json) {
  return read_config(JsonFields("config.json", json));
}

std::string error_with(const std::string& key, const nlohmann::json& value) {
  nlohmann::json json = llama_json();
  json[key] = value;
  return error_of<FileError>([&] { (void)read(json); });
}

TEST(ModelConfigJson, ReadsShapesAndConstants) {
  const ModelConfig config = read(llama_json());
  EXPECT_EQ(config.depth(), 4);
  EXPECT_EQ(config.head_dim, 16U);
  EXPECT_EQ(config.query_width(), 64U);
  EXPECT_EQ(config.kv_width(), 32U);
  EXPECT_EQ(config.context, 256U);
  EXPECT_TRUE(config.tied_head);
  EXPECT_EQ(config.pairing, RotaryPairing::halves);
  EXPECT_EQ(config.rotaries.at(0).base, 5000.0);
  EXPECT_TRUE(std::holds_alternative<NoScaling>(config.rotaries.at(0).scaling));
}

TEST(ModelConfigJson, LeavesOutWhatTransformersLeavesOut) {
  nlohmann::json json = llama_json();
  for (const char* const key :
       {"num_key_value_heads", "tie_word_embeddings", "rope_theta", "rms_norm_eps"}) {
    json.erase(key);
  }
  const ModelConfig config = read(json);
  EXPECT_EQ(config.kv_heads, 4U);
  EXPECT_FALSE(config.tied_head);
  EXPECT_EQ(config.rotaries.at(0).base, 10000.0);
  EXPECT_FLOAT_EQ(config.norm.epsilon, 1e-6F);
}

TEST(ModelConfigJson, OlderAndNewerRotaryFieldsSayTheSame) {
  nlohmann::json older = llama_json();
  older["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  nlohmann::json newer = llama_json();
  newer.erase("rope_theta");
  newer["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 5000.0}};
  EXPECT_EQ(rotary_frequencies(read(older).rotaries.at(0)),
            rotary_frequencies(read(newer).rotaries.at(0)));
}

TEST(ModelConfigJson, YarnWithoutAFactorTakesTheContextsRatio) {
  nlohmann::json json = llama_json();
  json["rope_scaling"] = {
      {"rope_type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 32}};
  EXPECT_EQ(std::get<YarnScaling>(read(json).rotaries.at(0).scaling).factor, 8.0);
}

TEST(ModelConfigJson, RefusesTheImpossibleByName) {
  EXPECT_THAT(error_with("num_hidden_layers", 0), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(error_with("num_hidden_layers", 1000000), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(error_with("hidden_size", std::uint64_t{1} << 40), HasSubstr("hidden_size"));
  EXPECT_THAT(error_with("num_attention_heads", 5), HasSubstr("num_attention_heads"));
  EXPECT_THAT(error_with("num_key_value_heads", 3), HasSubstr("num_key_value_heads"));
  EXPECT_THAT(error_with("head_dim", 15), HasSubstr("head_dim"));
  EXPECT_THAT(error_with("rms_norm_eps", 0.0), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(error_with("rope_theta", -1.0), HasSubstr("rope_theta"));
  EXPECT_THAT(error_with("hidden_act", "quick_gelu"),
              AllOf(HasSubstr("hidden_act"), HasSubstr("quick_gelu")));
  EXPECT_THAT(error_with("model_type", "mamba"), AllOf(HasSubstr("mamba"), HasSubstr("llama")));
  EXPECT_THAT(error_with("quantization_config", {{"bits", 4}}), HasSubstr("GGUF"));
  for (const char* const key : {"hidden_act", "model_type"}) {
    EXPECT_THAT(error_with(key, "\x1b[2J"), HasSubstr("'\\x1b[2J'")) << key;
  }
  EXPECT_THAT(error_with("rope_scaling", {{"rope_type", "\x1b[2J"}}), HasSubstr("'\\x1b[2J'"));
  EXPECT_THAT(error_with("rope_scaling", {{"rope_type", "longrope"}}), HasSubstr("longrope"));
  EXPECT_THAT(error_with("rope_scaling", {{"rope_type", "linear"}}), HasSubstr("factor"));
  EXPECT_THAT(error_with("rope_scaling", {{"rope_type", "linear"}, {"factor", 0}}),
              HasSubstr("factor"));
  EXPECT_THAT(error_with("rope_scaling", {{"rope_type", "llama3"},
                                          {"factor", 8.0},
                                          {"low_freq_factor", 4.0},
                                          {"high_freq_factor", 1.0},
                                          {"original_max_position_embeddings", 64}}),
              HasSubstr("high_freq_factor"));
}

// ---- GGUF ---------------------------------------------------------------------------------------

/// The metadata of a small Llama, of which a test changes one number.
class ModelConfigGguf : public testing::Test {
 protected:
  ModelConfig read() {
    GgufTestWriter writer;
    writer.add_string("general.architecture", architecture_);
    for (const auto& [key, value] : numbers_) writer.add_number("llama." + key, value);
    writer.add_number("llama.attention.layer_norm_rms_epsilon", epsilon_);
    if (!scaling_.empty()) writer.add_string("llama.rope.scaling.type", scaling_);
    writer.add_tensor("token_embd.weight", {10, 64}, std::vector<float>(640, 0.5F));
    const std::filesystem::path path = folder_.path() / "model.gguf";
    std::filesystem::remove(path);
    writer.write(path);
    return read_config(GgufFile::open(path));
  }
  std::string error() {
    return error_of<FileError>([&] { (void)read(); });
  }

  TestFolder folder_;
  std::string architecture_ = "llama";
  std::string scaling_;
  float epsilon_ = 1e-5F;
  std::map<std::string, std::uint32_t> numbers_{
      {"block_count", 2},          {"embedding_length", 64},       {"feed_forward_length", 96},
      {"attention.head_count", 4}, {"attention.head_count_kv", 2}, {"context_length", 128}};
};

TEST_F(ModelConfigGguf, ReadsShapes) {
  const ModelConfig config = read();
  EXPECT_EQ(config.depth(), 2);
  EXPECT_EQ(config.head_dim, 16U);
  EXPECT_EQ(config.vocabulary, 10U);
  EXPECT_TRUE(config.tied_head);
  EXPECT_EQ(config.pairing, RotaryPairing::interleaved);
  EXPECT_EQ(config.rotaries.at(0).base, 10000.0);
}

TEST_F(ModelConfigGguf, RefusesTheImpossibleByName) {
  for (const std::string key : {"block_count", "embedding_length", "feed_forward_length",
                                "attention.head_count", "context_length"}) {
    const auto before = numbers_;
    numbers_[key] = 0;
    EXPECT_THAT(error(), HasSubstr("llama." + key));
    numbers_.erase(key);
    EXPECT_THAT(error(), HasSubstr("llama." + key));
    numbers_ = before;
  }
  numbers_["attention.head_count_kv"] = 3;
  EXPECT_THAT(error(), HasSubstr("llama.attention.head_count_kv"));
  numbers_["attention.head_count_kv"] = 2;
  numbers_["rope.dimension_count"] = 8;
  EXPECT_THAT(error(), HasSubstr("llama.rope.dimension_count"));
  numbers_.erase("rope.dimension_count");
  numbers_["attention.value_length"] = 8;
  EXPECT_THAT(error(), HasSubstr("llama.attention.value_length"));
  numbers_.erase("attention.value_length");
  numbers_["expert_count"] = 8;
  EXPECT_THAT(error(), HasSubstr("llama.expert_count"));
  numbers_.erase("expert_count");
  epsilon_ = 2;
  EXPECT_THAT(error(), HasSubstr("layer_norm_rms_epsilon"));
  epsilon_ = 1e-5F;
  scaling_ = "longrope";
  EXPECT_THAT(error(), AllOf(HasSubstr("rope.scaling.type"), HasSubstr("longrope")));
  scaling_ = "\x1b[2J";
  EXPECT_THAT(error(), HasSubstr("rope.scaling.type: '\\x1b[2J'"));
  scaling_ = "linear";
  EXPECT_THAT(error(), HasSubstr("llama.rope.scaling.factor"));
  scaling_.clear();
  architecture_ = "mamba";
  EXPECT_THAT(error(), AllOf(HasSubstr("general.architecture"), HasSubstr("mamba")));
  architecture_ = "\x1b[2J";
  EXPECT_THAT(error(), HasSubstr("general.architecture: '\\x1b[2J'"));
}

}  // namespace
}  // namespace fathom
