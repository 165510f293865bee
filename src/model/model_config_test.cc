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

// ---- config.json of the other families ----------------------------------------------------------

nlohmann::json gated_json(const std::string& type) {
  nlohmann::json json = llama_json();
  json["model_type"] = type;
  json["head_dim"] = 16;
  return json;
}

nlohmann::json opt_json() {
  return {{"model_type", "opt"},
          {"num_hidden_layers", 4},
          {"hidden_size", 64},
          {"ffn_dim", 96},
          {"vocab_size", 384},
          {"num_attention_heads", 4},
          {"max_position_embeddings", 256}};
}

nlohmann::json gpt2_json() {
  return {{"model_type", "gpt2"}, {"n_layer", 4},       {"n_embd", 64},
          {"n_head", 4},          {"n_positions", 256}, {"vocab_size", 384}};
}

std::string error_of_json(nlohmann::json json, const std::string& key,
                          const nlohmann::json& value) {
  json[key] = value;
  return error_of<FileError>([&] { (void)read(json); });
}

// The window of each layer, 0 for none.
std::vector<std::size_t> windows(const ModelConfig& config) {
  std::vector<std::size_t> result;
  for (const LayerAttention& attention : config.attention) {
    result.push_back(attention.window.value_or(0));
  }
  return result;
}

using testing::Each;
using testing::ElementsAre;

TEST(ModelConfigFamilies, OptIsReadAsTransformersReadsIt) {
  const ModelConfig config = read(opt_json());
  EXPECT_EQ(config.family, ModelFamily::opt);
  EXPECT_EQ(config.ffn_width, 96U);
  EXPECT_EQ(config.kv_heads, 4U);
  EXPECT_EQ(config.embedding_width, 64U);
  EXPECT_EQ(config.learned_positions, 2U);
  EXPECT_EQ(config.activation, Activation::relu);
  EXPECT_EQ(config.norm.kind, NormKind::layer);
  EXPECT_EQ(config.norm.placement, NormPlacement::before);
  EXPECT_EQ(config.norm.final_norm, Presence::always);
  EXPECT_EQ(config.query_key_value_bias, Presence::always);
  EXPECT_TRUE(config.tied_head);
  EXPECT_FALSE(config.gated);
  EXPECT_TRUE(config.rotaries.empty());
  EXPECT_FLOAT_EQ(config.attention.at(3).scale, 0.25F);

  nlohmann::json json = opt_json();
  json["do_layer_norm_before"] = false;
  json["word_embed_proj_dim"] = 32;
  const ModelConfig post = read(json);
  EXPECT_EQ(post.norm.placement, NormPlacement::after);
  EXPECT_EQ(post.norm.final_norm, Presence::never);
  EXPECT_EQ(post.embedding_width, 32U);
  json = opt_json();
  json["_remove_final_layer_norm"] = true;
  json["enable_bias"] = false;
  json["layer_norm_elementwise_affine"] = false;
  const ModelConfig bare = read(json);
  EXPECT_EQ(bare.norm.final_norm, Presence::never);
  EXPECT_EQ(bare.norm.weights, Presence::never);
  EXPECT_EQ(bare.ffn_bias, Presence::never);

  EXPECT_THAT(error_of_json(opt_json(), "num_attention_heads", 5),
              HasSubstr("num_attention_heads"));
  EXPECT_THAT(error_of_json(opt_json(), "activation_function", "quick_gelu"),
              AllOf(HasSubstr("activation_function"), HasSubstr("quick_gelu"), HasSubstr("relu")));
  EXPECT_THAT(error_of_json(opt_json(), "word_embed_proj_dim", 0),
              HasSubstr("word_embed_proj_dim"));
  EXPECT_THAT(error_of_json(opt_json(), "ffn_dim", nullptr), HasSubstr("ffn_dim"));
}

TEST(ModelConfigFamilies, Gpt2IsReadAsTransformersReadsIt) {
  nlohmann::json json = gpt2_json();
  EXPECT_EQ(read(json).ffn_width, 256U);
  json["scale_attn_by_inverse_layer_idx"] = true;
  const ModelConfig config = read(json);
  EXPECT_EQ(config.learned_positions, 0U);
  EXPECT_EQ(config.activation, Activation::gelu_tanh);
  EXPECT_FLOAT_EQ(config.attention.at(0).scale, 0.25F);
  EXPECT_FLOAT_EQ(config.attention.at(3).scale, 0.0625F);
  EXPECT_THAT(error_of_json(gpt2_json(), "add_cross_attention", true),
              HasSubstr("add_cross_attention"));
  EXPECT_THAT(error_of_json(gpt2_json(), "layer_norm_epsilon", 0), HasSubstr("layer_norm_epsilon"));
  EXPECT_THAT(error_of_json(gpt2_json(), "n_head", 7), HasSubstr("n_head"));
}

TEST(ModelConfigFamilies, MistralSlidesEverywhereUnlessNull) {
  nlohmann::json json = gated_json("mistral");
  EXPECT_THAT(windows(read(json)), Each(4096U));
  json["sliding_window"] = 7;
  EXPECT_THAT(windows(read(json)), Each(7U));
  json["sliding_window"] = nullptr;
  EXPECT_THAT(windows(read(json)), Each(0U));
  EXPECT_THAT(error_of_json(json, "sliding_window", 0), HasSubstr("sliding_window"));
  EXPECT_THAT(error_of_json(json, "layer_types", std::vector<std::string>(4, "full_attention")),
              HasSubstr("layer_types"));
  EXPECT_THAT(error_of_json(json, "num_key_value_heads", nullptr),
              HasSubstr("num_key_value_heads"));
}

TEST(ModelConfigFamilies, QwenSlidesWhereItMay) {
  for (const char* const type : {"qwen2", "qwen3"}) {
    nlohmann::json json = gated_json(type);
    json["sliding_window"] = 9;
    json["max_window_layers"] = 2;
    EXPECT_THAT(windows(read(json)), Each(0U));
    json["use_sliding_window"] = true;
    EXPECT_THAT(windows(read(json)), ElementsAre(0, 0, 9, 9));
    json["layer_types"] = {"sliding_attention", "full_attention", "full_attention",
                           "sliding_attention"};
    EXPECT_THAT(windows(read(json)), ElementsAre(9, 0, 0, 9));
    EXPECT_THAT(error_of_json(json, "use_sliding_window", false), HasSubstr("sliding_window"));
    EXPECT_THAT(error_of_json(json, "layer_types", {"full_attention"}),
                AllOf(HasSubstr("layer_types"), HasSubstr("1 found")));
    EXPECT_THAT(
        error_of_json(json, "layer_types", std::vector<std::string>(4, "chunked_attention")),
        AllOf(HasSubstr("layer_types"), HasSubstr("chunked_attention")));
  }
  EXPECT_EQ(read(gated_json("qwen2")).query_key_value_bias, Presence::always);
  EXPECT_EQ(read(gated_json("qwen2")).norm.head_norms, Presence::never);
  EXPECT_EQ(read(gated_json("qwen3")).query_key_value_bias, Presence::never);
  EXPECT_EQ(read(gated_json("qwen3")).norm.head_norms, Presence::always);
  nlohmann::json json = gated_json("qwen3");
  json.erase("head_dim");
  EXPECT_EQ(read(json).head_dim, 128U);
  EXPECT_THAT(error_of_json(json, "partial_rotary_factor", 0.5),
              HasSubstr("partial_rotary_factor"));
}

TEST(ModelConfigFamilies, Smollm3LeavesRotationsOut) {
  const auto rotated = [](const ModelConfig& config) {
    std::vector<int> result;
    for (const LayerAttention& attention : config.attention) {
      result.push_back(attention.rotary ? 1 : 0);
    }
    return result;
  };
  nlohmann::json json = gated_json("smollm3");
  json.erase("rope_theta");
  EXPECT_THAT(rotated(read(json)), ElementsAre(1, 1, 1, 0));
  EXPECT_EQ(read(json).rotaries.at(0).base, 2e6);
  json["no_rope_layer_interval"] = 2;
  EXPECT_THAT(rotated(read(json)), ElementsAre(1, 0, 1, 0));
  json["no_rope_layers"] = {0, 1, 1, 0};
  EXPECT_THAT(rotated(read(json)), ElementsAre(0, 1, 1, 0));
  json["use_sliding_window"] = true;
  json["sliding_window"] = 8;
  EXPECT_THAT(windows(read(json)), ElementsAre(8, 0, 0, 8));
  EXPECT_THAT(error_of_json(json, "no_rope_layers", {0, 1}), HasSubstr("no_rope_layers"));
  EXPECT_THAT(error_of_json(json, "no_rope_layers", {0, 1, 2, 1}), HasSubstr("no_rope_layers"));
  json.erase("no_rope_layers");
  EXPECT_THAT(error_of_json(json, "no_rope_layer_interval", 0),
              HasSubstr("no_rope_layer_interval"));
}

TEST(ModelConfigFamilies, Gemma3HasTwoRotations) {
  nlohmann::json json = gated_json("gemma3_text");
  json["sliding_window"] = 10;
  json["sliding_window_pattern"] = 2;
  json["rope_local_base_freq"] = 100;
  json["query_pre_attn_scalar"] = 64;
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  const ModelConfig config = read(json);
  EXPECT_THAT(windows(config), ElementsAre(10, 0, 10, 0));
  EXPECT_EQ(config.attention.at(0).rotary, 1U);
  EXPECT_EQ(config.attention.at(1).rotary, 0U);
  EXPECT_EQ(config.rotaries.at(0).base, 5000);
  EXPECT_TRUE(std::holds_alternative<LinearScaling>(config.rotaries.at(0).scaling));
  EXPECT_EQ(config.rotaries.at(1).base, 100);
  EXPECT_TRUE(std::holds_alternative<NoScaling>(config.rotaries.at(1).scaling));
  EXPECT_FLOAT_EQ(config.attention.at(0).scale, 0.125F);
  EXPECT_FLOAT_EQ(config.embedding_scale, 8);
  EXPECT_EQ(config.norm.weight_offset, 1);
  EXPECT_EQ(config.norm.placement, NormPlacement::around);

  nlohmann::json newer = gated_json("gemma3_text");
  newer.erase("rope_theta");
  newer["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 5000}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 100}}}};
  for (const std::size_t k : {0U, 1U}) {
    EXPECT_EQ(rotary_frequencies(read(newer).rotaries.at(k)),
              rotary_frequencies(config.rotaries.at(k)));
  }
  EXPECT_THAT(windows(read(newer)), Each(4096U));  // every sixth layer is the first full one
  EXPECT_THAT(error_of_json(newer, "rope_parameters", {{"rope_theta", 5000}}),
              HasSubstr("rope_parameters"));
  EXPECT_THAT(error_of_json(json, "attn_logit_softcapping", 50.0),
              AllOf(HasSubstr("attn_logit_softcapping"), HasSubstr("50")));
  EXPECT_THAT(error_of_json(json, "final_logit_softcapping", 30.0),
              HasSubstr("final_logit_softcapping"));
  EXPECT_THAT(error_of_json(json, "use_bidirectional_attention", true),
              HasSubstr("use_bidirectional_attention"));
  EXPECT_THAT(error_of_json(json, "query_pre_attn_scalar", 0), HasSubstr("query_pre_attn_scalar"));
  EXPECT_THAT(error_of_json(json, "sliding_window_pattern", 0),
              HasSubstr("sliding_window_pattern"));
  EXPECT_THAT(error_of_json(json, "hidden_activation", "quick_gelu"),
              HasSubstr("hidden_activation"));
}

// ---- GGUF ---------------------------------------------------------------------------------------

/// The metadata of a small Llama, of which a test changes one number.
class ModelConfigGguf : public testing::Test {
 protected:
  ModelConfig read() {
    GgufTestWriter writer;
    writer.add_string("general.architecture", architecture_);
    for (const auto& [key, value] : numbers_) writer.add_number(prefix_ + key, value);
    writer.add_number(prefix_ + epsilon_key_, epsilon_);
    for (const auto& [key, value] : floats_) writer.add_number(prefix_ + key, value);
    for (const auto& [key, value] : flags_) writer.add_bool(prefix_ + key, value);
    if (!activation_.empty()) writer.add_string("opt.activation_function", activation_);
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

  void set_architecture(const std::string& name) {
    architecture_ = name;
    prefix_ = name + ".";
  }

  TestFolder folder_;
  std::string architecture_ = "llama";
  std::string prefix_ = "llama.";  // of the keys
  std::string epsilon_key_ = "attention.layer_norm_rms_epsilon";
  std::string activation_;
  std::map<std::string, float> floats_;
  std::map<std::string, bool> flags_;
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

TEST_F(ModelConfigGguf, PairingIsThatOfTheConverter) {
  for (const auto& [name, pairing] :
       std::map<std::string, RotaryPairing>{{"llama", RotaryPairing::interleaved},
                                            {"smollm3", RotaryPairing::interleaved},
                                            {"qwen2", RotaryPairing::halves},
                                            {"qwen3", RotaryPairing::halves}}) {
    set_architecture(name);
    EXPECT_EQ(read().pairing, pairing) << name;
  }
}

TEST_F(ModelConfigGguf, WindowsAreOfAllLayersOrOfAPattern) {
  numbers_["attention.sliding_window"] = 12;
  EXPECT_THAT(windows(read()), ElementsAre(12, 12));
  numbers_["attention.sliding_window_pattern"] = 2;
  EXPECT_THAT(windows(read()), ElementsAre(12, 0));
  numbers_["attention.sliding_window"] = 0;
  EXPECT_THAT(windows(read()), ElementsAre(0, 0));
  numbers_["attention.sliding_window"] = 1U << 31U;
  EXPECT_THAT(error(), HasSubstr("llama.attention.sliding_window"));
}

TEST_F(ModelConfigGguf, Gemma3IsReadAsLlamaCppReadsIt) {
  set_architecture("gemma3");
  EXPECT_THAT(error(), HasSubstr("gemma3.attention.sliding_window"));
  numbers_["block_count"] = 12;
  numbers_["attention.sliding_window"] = 12;
  ModelConfig config = read();
  EXPECT_THAT(windows(config), ElementsAre(12, 12, 12, 12, 12, 0, 12, 12, 12, 12, 12, 0));
  EXPECT_EQ(config.attention.at(0).rotary, 1U);
  EXPECT_EQ(config.attention.at(5).rotary, 0U);
  EXPECT_EQ(config.rotaries.at(1).base, 10000);
  EXPECT_EQ(config.norm.weight_offset, 0);  // the converter has added it
  EXPECT_FLOAT_EQ(config.embedding_scale, 8);
  EXPECT_FLOAT_EQ(config.attention.at(0).scale, 0.25F);
  numbers_["attention.key_length"] = numbers_["attention.value_length"] = 64;
  EXPECT_FLOAT_EQ(read().attention.at(0).scale, 0.125F);
  numbers_["block_count"] = 62;  // 27B: by the width over the heads
  EXPECT_FLOAT_EQ(read().attention.at(0).scale, 0.25F);
  floats_["attention.scale"] = 0.5F;
  EXPECT_FLOAT_EQ(read().attention.at(0).scale, 0.5F);
  floats_["final_logit_softcapping"] = 30;
  EXPECT_THAT(error(), HasSubstr("gemma3.final_logit_softcapping"));
}

TEST_F(ModelConfigGguf, Smollm3LeavesEveryFourthRotationOut) {
  set_architecture("smollm3");
  numbers_["block_count"] = 5;
  const ModelConfig config = read();
  EXPECT_TRUE(config.attention.at(2).rotary);
  EXPECT_FALSE(config.attention.at(3).rotary);
  EXPECT_TRUE(config.attention.at(4).rotary);
}

TEST_F(ModelConfigGguf, OptHasFathomsOwnKeys) {
  set_architecture("opt");
  numbers_.erase("attention.head_count_kv");
  EXPECT_THAT(error(), HasSubstr("opt.attention.layer_norm_epsilon"));
  epsilon_key_ = "attention.layer_norm_epsilon";
  const ModelConfig plain = read();
  EXPECT_EQ(plain.norm.placement, NormPlacement::before);
  EXPECT_EQ(plain.norm.final_norm, Presence::always);
  EXPECT_EQ(plain.query_key_value_bias, Presence::always);
  EXPECT_EQ(plain.activation, Activation::relu);
  EXPECT_EQ(plain.kv_heads, 4U);
  EXPECT_TRUE(plain.rotaries.empty());
  flags_ = {{"do_layer_norm_before", false},
            {"enable_bias", false},
            {"layer_norm_elementwise_affine", false}};
  numbers_["word_embed_proj_dim"] = 32;
  activation_ = "gelu";
  const ModelConfig other = read();
  EXPECT_EQ(other.norm.placement, NormPlacement::after);
  EXPECT_EQ(other.norm.final_norm, Presence::never);
  EXPECT_EQ(other.norm.weights, Presence::never);
  EXPECT_EQ(other.ffn_bias, Presence::never);
  EXPECT_EQ(other.embedding_width, 32U);
  EXPECT_EQ(other.activation, Activation::gelu);
  activation_ = "quick_gelu";
  EXPECT_THAT(error(), AllOf(HasSubstr("opt.activation_function"), HasSubstr("quick_gelu")));
}

TEST_F(ModelConfigGguf, RefusesWhatNoFamilyHas) {
  flags_["attention.causal"] = false;
  EXPECT_THAT(error(), HasSubstr("llama.attention.causal"));
  flags_.clear();
  floats_["attn_logit_softcapping"] = 50;
  EXPECT_THAT(error(), HasSubstr("llama.attn_logit_softcapping"));
  floats_.clear();
  floats_["attention.scale"] = -1;
  EXPECT_THAT(error(), HasSubstr("llama.attention.scale"));
}

}  // namespace
}  // namespace fathom
