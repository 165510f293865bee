#include "model/lora_adapter.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "base/sha256.h"
#include "depth/selector.h"
#include "formats/safetensors_writer.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

ModelConfig tiny(ModelFamily family) {
  ModelConfig config;
  config.family = family;
  config.layers = 2;
  config.width = 8;
  config.heads = 4;
  config.kv_heads = family == ModelFamily::gpt2 ? 4 : 2;
  config.head_dim = 2;
  config.ffn_width = 12;
  config.gated = family != ModelFamily::gpt2 && family != ModelFamily::opt;
  return config;
}

// Factors whose values tell which they are, with the memory that they lie in.
class Factors {
 public:
  explicit Factors(const ModelConfig& config, std::size_t rank = 3)
      : config_(config), rank_(rank) {}

  void add(LayerIndex layer, LinearRole role) {
    const LinearShape shape = linear_shape(config_, role);
    outputs_.push_back({.layer = layer,
                        .role = role,
                        .a = tensor({rank_, shape.inputs}),
                        .b = tensor({shape.outputs, rank_})});
  }
  void add_all() {
    for (LayerIndex layer{0}; layer.value < config_.depth(); ++layer) {
      for (const LinearRole role : linear_roles(config_)) add(layer, role);
    }
  }
  [[nodiscard]] std::vector<LoraOutput>& outputs() { return outputs_; }

 private:
  TensorView tensor(std::vector<std::size_t> shape) {
    auto& values = memory_.emplace_back(shape[0] * shape[1]);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(memory_.size()) + static_cast<float>(i) / 64;
    }
    return {.name = {},
            .type = TensorType::F32,
            .shape = std::move(shape),
            .bytes = std::as_bytes(std::span(values))};
  }

  ModelConfig config_;
  std::size_t rank_;
  std::vector<std::vector<float>> memory_;
  std::vector<LoraOutput> outputs_;
};

Json read_settings(const std::filesystem::path& folder) {
  std::ifstream stream(folder / "adapter_config.json");
  return Json::parse(stream);
}

void change_settings(const TestFolder& folder, const Json& changes) {
  Json settings = read_settings(folder.path());
  settings.update(changes);
  (void)folder.write("adapter_config.json", settings.dump());
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string error_of_open(const TestFolder& folder, const ModelConfig& config) {
  return error_of<FileError>([&] { (void)LoraAdapter::open(folder.path(), config); });
}

class AllFamilies : public testing::TestWithParam<ModelFamily> {};

TEST_P(AllFamilies, ReadsBackWhatItWrites) {
  const ModelConfig config = tiny(GetParam());
  Factors factors(config);
  factors.add_all();
  const TestFolder folder;
  const std::string hash(64, 'a');
  write_lora_adapter(
      folder.path(), config,
      {.rank = 3, .alpha = 6, .rows = AdapterRows::routed, .base_sha256 = hash, .base_model = "m"},
      factors.outputs());
  const LoraAdapter adapter = LoraAdapter::open(folder.path(), config);
  EXPECT_EQ(adapter.settings.rank, 3U);
  EXPECT_EQ(adapter.settings.rows, AdapterRows::routed);
  EXPECT_EQ(adapter.settings.base_sha256, hash);
  EXPECT_EQ(adapter.settings.base_model, "m");
  ASSERT_EQ(adapter.layers.size(), 2U);
  for (const LoraOutput& output : factors.outputs()) {
    const auto& read = adapter.layers[output.layer.index()][output.role];
    ASSERT_TRUE(read);
    EXPECT_EQ(read->scale, 2);
    EXPECT_TRUE(std::ranges::equal(read->a.bytes, output.a.bytes));
    EXPECT_TRUE(std::ranges::equal(read->b.bytes, output.b.bytes));
  }
  // The same again gives the same bytes, in whichever order the factors come.
  const std::string before = bytes_of(folder.path() / "adapter_model.safetensors");
  std::ranges::reverse(factors.outputs());
  write_lora_adapter(folder.path(), config, {.rank = 3, .alpha = 6}, factors.outputs());
  EXPECT_EQ(bytes_of(folder.path() / "adapter_model.safetensors"), before);
}

INSTANTIATE_TEST_SUITE_P(LoraAdapter, AllFamilies,
                         testing::Values(ModelFamily::llama, ModelFamily::mistral,
                                         ModelFamily::qwen2, ModelFamily::qwen3,
                                         ModelFamily::smollm3, ModelFamily::gemma3,
                                         ModelFamily::opt, ModelFamily::gpt2),
                         [](const auto& family) { return std::string(name(family.param)); });

TEST(LoraAdapter, ModulesHaveTransformersNames) {
  const LayerIndex second{1};
  EXPECT_EQ(module_path(tiny(ModelFamily::llama), LinearRole::query, second),
            "model.layers.1.self_attn.q_proj");
  EXPECT_EQ(module_path(tiny(ModelFamily::opt), LinearRole::attention_output, second),
            "model.decoder.layers.1.self_attn.out_proj");
  EXPECT_EQ(module_path(tiny(ModelFamily::gpt2), LinearRole::query_key_value, second),
            "transformer.h.1.attn.c_attn");
  EXPECT_EQ(linear_shape(tiny(ModelFamily::gpt2), LinearRole::query_key_value).outputs, 24U);
}

TEST(LoraAdapter, TargetsAreEndsOfPathsWhereEveryLayerHasTheSame) {
  const ModelConfig config = tiny(ModelFamily::llama);
  const TestFolder folder;
  const auto write = [&](std::initializer_list<std::pair<int, LinearRole>> maps) {
    Factors factors(config);
    for (const auto& [layer, role] : maps) factors.add(LayerIndex{layer}, role);
    write_lora_adapter(folder.path(), config, {.rank = 3, .alpha = 1}, factors.outputs());
    EXPECT_NO_THROW((void)LoraAdapter::open(folder.path(), config));
    return read_settings(folder.path());
  };
  Json settings = write({{1, LinearRole::up}, {1, LinearRole::query}});
  EXPECT_EQ(settings["target_modules"], Json({"mlp.up_proj", "self_attn.q_proj"}));
  EXPECT_EQ(settings["layers_to_transform"], Json::array({1}));
  settings = write({{0, LinearRole::up}, {1, LinearRole::query}});
  EXPECT_EQ(settings["target_modules"],
            Json({"model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj"}));
  EXPECT_TRUE(settings["layers_to_transform"].is_null());
}

TEST(LoraAdapter, ScalesAsTheSettingsSay) {
  const ModelConfig config = tiny(ModelFamily::llama);
  Factors factors(config, 4);
  factors.add_all();
  const TestFolder folder;
  write_lora_adapter(folder.path(), config, {.rank = 4, .alpha = 6}, factors.outputs());
  const auto scale = [&](int layer, LinearRole role) {
    return LoraAdapter::open(folder.path(), config)
        .layers[static_cast<std::size_t>(layer)][role]
        ->scale;
  };
  EXPECT_EQ(scale(0, LinearRole::query), 1.5F);
  change_settings(folder, {{"use_rslora", true}});
  EXPECT_EQ(scale(0, LinearRole::query), 3);
  change_settings(folder, {{"alpha_pattern", {{"layers.1.self_attn.q_proj", 8}, {"up_proj", 2}}}});
  EXPECT_EQ(scale(0, LinearRole::query), 3);
  EXPECT_EQ(scale(1, LinearRole::query), 4);
  EXPECT_EQ(scale(0, LinearRole::up), 1);
  // "_proj" is no whole part of a path.
  change_settings(folder, {{"alpha_pattern", {{"proj", 8}}}});
  EXPECT_EQ(scale(0, LinearRole::up), 3);
  change_settings(folder, {{"alpha_pattern", {{"q_proj", 8}, {"self_attn.q_proj", 2}}}});
  EXPECT_THAT(error_of_open(folder, config), HasSubstr("alpha_pattern"));
  change_settings(folder, {{"alpha_pattern", {{".*q_proj", 8}}}});
  EXPECT_THAT(error_of_open(folder, config), HasSubstr("the path of a module"));
  change_settings(folder, {{"alpha_pattern", nullptr}, {"rank_pattern", {{"q_proj", 5}}}});
  EXPECT_THAT(error_of_open(folder, config), AllOf(HasSubstr("q_proj"), HasSubstr("5")));
}

TEST(LoraAdapter, TakesWhatPeftWrites) {
  const ModelConfig config = tiny(ModelFamily::llama);
  Factors factors(config);
  factors.add_all();
  const TestFolder folder;
  write_lora_adapter(folder.path(), config, {.rank = 3, .alpha = 6}, factors.outputs());
  Json settings = Json::parse(R"({
    "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null,
    "auto_mapping": null, "base_model_name_or_path": "a/b", "bias": "none", "corda_config": null,
    "ensure_weight_tying": false, "eva_config": null, "exclude_modules": null,
    "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
    "kasa_config": null, "layer_replication": null, "layers_pattern": null,
    "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 6, "lora_bias": false,
    "lora_dropout": 0.05, "lora_ga_config": null, "megatron_config": null,
    "megatron_core": "megatron.core", "modules_to_save": null, "monteclora_config": null,
    "peft_type": "LORA", "peft_version": "0.21.2", "qalora_group_size": 16, "r": 3,
    "rank_pattern": {}, "revision": null, "target_modules": ["down_proj", "q_proj"],
    "target_parameters": null, "task_type": "CAUSAL_LM", "trainable_token_indices": null,
    "use_bdlora": null, "use_dora": false, "use_qalora": false, "use_rslora": false,
    "velora_config": null})");
  (void)folder.write("adapter_config.json", settings.dump());
  EXPECT_NO_THROW((void)LoraAdapter::open(folder.path(), config));
  settings["target_modules"] = "all-linear";
  (void)folder.write("adapter_config.json", settings.dump());
  const LoraAdapter adapter = LoraAdapter::open(folder.path(), config);
  EXPECT_FALSE(adapter.settings.target_modules);
  EXPECT_EQ(adapter.settings.rows, AdapterRows::all);
  EXPECT_EQ(adapter.settings.base_model, "a/b");
}

TEST(LoraAdapter, RefusesByNameWhatItDoesNotDo) {
  const ModelConfig config = tiny(ModelFamily::llama);
  Factors factors(config);
  factors.add_all();
  const TestFolder folder;
  const auto error_with = [&](const Json& changes) {
    write_lora_adapter(folder.path(), config, {.rank = 3, .alpha = 6}, factors.outputs());
    change_settings(folder, changes);
    return error_of_open(folder, config);
  };
  EXPECT_THAT(error_with({{"use_dora", true}}), AllOf(HasSubstr("use_dora"), HasSubstr("DoRA")));
  EXPECT_THAT(error_with({{"modules_to_save", {"lm_head"}}}), HasSubstr("modules_to_save"));
  EXPECT_THAT(error_with({{"bias", "all"}}), AllOf(HasSubstr("bias"), HasSubstr("'none'")));
  EXPECT_THAT(error_with({{"lora_bias", true}}), HasSubstr("lora_bias"));
  EXPECT_THAT(error_with({{"peft_type", "IA3"}}), AllOf(HasSubstr("IA3"), HasSubstr("LORA")));
  EXPECT_THAT(error_with({{"init_lora_weights", "pissa"}}), HasSubstr("pissa"));
  EXPECT_THAT(error_with({{"trainable_token_indices", {1}}}), HasSubstr("embeddings"));
  EXPECT_THAT(error_with({{"some_new_method", {{"x", 1}}}}), HasSubstr("some_new_method"));
  EXPECT_THAT(error_with({{"fathom_rows", "some"}}), AllOf(HasSubstr("some"), HasSubstr("routed")));
  EXPECT_THAT(error_with({{"fathom_base_sha256", "12"}}), HasSubstr("hexadecimal"));
  EXPECT_THAT(error_with({{"r", 0}}), AllOf(HasSubstr("'r'"), HasSubstr("at least 1")));
  EXPECT_THAT(error_with({{"r", 4}}), AllOf(HasSubstr("lora_A"), HasSubstr("4")));
  EXPECT_THAT(error_with({{"lora_alpha", nullptr}}), HasSubstr("lora_alpha"));
  EXPECT_THAT(error_with({{"lora_alpha", 1e300}}), HasSubstr("lora_alpha"));
  EXPECT_THAT(error_with({{"layers_to_transform", {2}}}), HasSubstr("layers_to_transform"));
  EXPECT_EQ(error_with({{"init_lora_weights", "gaussian"}}), "no error");
}

// A sound safetensors file of other tensors.
class OtherTensors {
 public:
  void add(std::string name, std::vector<std::size_t> shape, float value = 1) {
    values_.emplace_back(shape[0] * shape[1], value);
    tensors_.push_back({.name = std::move(name),
                        .type = TensorType::F32,
                        .shape = std::move(shape),
                        .bytes = std::as_bytes(std::span(values_.back()))});
  }
  [[nodiscard]] std::string error(const TestFolder& folder, const ModelConfig& config) const {
    write_safetensors(folder.path() / "adapter_model.safetensors", tensors_, {});
    return error_of_open(folder, config);
  }

 private:
  std::vector<std::vector<float>> values_;
  std::vector<TensorView> tensors_;
};

TEST(LoraAdapter, DamagedTensorsSayWhere) {
  const ModelConfig config = tiny(ModelFamily::llama);
  const TestFolder folder;
  Factors factors(config, 1);
  factors.add(LayerIndex{0}, LinearRole::query);
  write_lora_adapter(folder.path(), config, {.rank = 1, .alpha = 1}, factors.outputs());
  const std::string q = "base_model.model.model.layers.0.self_attn.q_proj.";
  const auto error = [&](auto... tensors) {
    OtherTensors others;
    (std::apply([&](auto... of) { others.add(of...); }, tensors), ...);
    return others.error(folder, config);
  };
  using Shape = std::vector<std::size_t>;
  const auto a = std::tuple(q + "lora_A.weight", Shape{1, 8});
  const auto b = std::tuple(q + "lora_B.weight", Shape{8, 1});
  EXPECT_EQ(error(a, b), "no error");
  EXPECT_THAT(error(a), AllOf(HasSubstr("lora_A"), HasSubstr("lora_B.weight is missing")));
  EXPECT_THAT(error(b), AllOf(HasSubstr("lora_B"), HasSubstr("lora_A.weight is missing")));
  EXPECT_THAT(error(a, std::tuple(q + "lora_B.weight", Shape{7, 1})), HasSubstr("lora_B"));
  EXPECT_THAT(error(std::tuple(q + "lora_A.weight", Shape{1, 8}, std::nanf("")), b),
              AllOf(HasSubstr("lora_A"), HasSubstr("nan"), HasSubstr("row 0, column 0")));
  EXPECT_THAT(error(a, std::tuple(q + "lora_B.weight", Shape{8, 1},
                                  std::numeric_limits<float>::infinity())),
              AllOf(HasSubstr("lora_B"), HasSubstr("inf")));
  EXPECT_THAT(error(a, b, std::tuple("base_model.model.lm_head.lora_A.weight", Shape{1, 8})),
              AllOf(HasSubstr("lm_head"), HasSubstr("model.layers.0.self_attn.q_proj")));
  EXPECT_THAT(error(a, b, std::tuple(q + "lora_C.weight", Shape{1, 8})), HasSubstr("lora_C"));
  EXPECT_THAT(
      error(a, b, std::tuple("base_model.model.model.embed_tokens.lora_embedding_A", Shape{1, 8})),
      HasSubstr("embeddings"));
  EXPECT_THAT(
      error(a, b,
            std::tuple("base_model.model.layers.0.self_attn.q_proj.lora_A.weight", Shape{1, 8}),
            std::tuple("base_model.model.layers.0.self_attn.q_proj.lora_B.weight", Shape{8, 1})),
      HasSubstr("another name"));
  (void)folder.write("adapter_model.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  EXPECT_THAT(error_of_open(folder, config), HasSubstr("no factors"));
  const std::string v = "base_model.model.model.layers.0.self_attn.v_proj.";
  EXPECT_THAT(error(std::tuple(v + "lora_A.weight", Shape{1, 8}),
                    std::tuple(v + "lora_B.weight", Shape{4, 1})),
              AllOf(HasSubstr("no factors of model.layers.0.self_attn.q_proj"),
                    HasSubstr("adapter_config.json")));
}

TEST(LoraAdapter, TruncatedFilesAreRefused) {
  const ModelConfig config = tiny(ModelFamily::gpt2);
  const TestFolder folder;
  Factors factors(config);
  factors.add_all();
  write_lora_adapter(folder.path(), config, {.rank = 3, .alpha = 1}, factors.outputs());
  for (const std::string file : {"adapter_model.safetensors", "adapter_config.json"}) {
    const std::string whole = bytes_of(folder.path() / file);
    // What follows the last brace of the settings is a line's end.
    for (std::size_t size = 0; size + 2 < whole.size(); size += 1 + whole.size() / 97) {
      (void)folder.write(file, whole.substr(0, size));
      EXPECT_THAT(error_of_open(folder, config), HasSubstr(file)) << size;
    }
    (void)folder.write(file, whole);
  }
  std::filesystem::remove(folder.path() / "adapter_model.safetensors");
  EXPECT_THAT(error_of_open(folder, config), HasSubstr("adapter_model.safetensors: missing"));
}

TEST(LoraAdapter, IsForTheModelThatItNames) {
  const ModelConfig config = tiny(ModelFamily::llama);
  const TestFolder folder;
  Factors factors(config);
  factors.add_all();
  const std::filesystem::path model = folder.write("model.gguf", std::string_view("weights"));
  const auto check = [&](const std::optional<std::string>& hash) {
    write_lora_adapter(folder.path(), config, {.rank = 3, .alpha = 1, .base_sha256 = hash},
                       factors.outputs());
    const LoraAdapter adapter = LoraAdapter::open(folder.path(), config);
    return error_of<FileError>([&] { check_adapter_base(adapter, model); });
  };
  EXPECT_EQ(check(std::nullopt), "no error");
  EXPECT_EQ(check(sha256("weights")), "no error");
  const std::string other = sha256("other weights");
  EXPECT_THAT(check(other), AllOf(HasSubstr(other), HasSubstr(sha256("weights"))));
}

TEST(LoraAdapter, RoutedOnesLeavePromptsAndFullDepthAlone) {
  const RouteSelector full(Route::full(4));
  const RouteSelector half(Route::first(2, 4));
  const ConfidenceSelector confident(1);
  const auto acts = [](AdapterRows rows, RowRole role, const Selector* selector) {
    return acts_on(rows, SequenceStep{.role = role, .selector = selector});
  };
  EXPECT_FALSE(acts(AdapterRows::routed, RowRole::prompt, nullptr));
  EXPECT_FALSE(acts(AdapterRows::routed, RowRole::prompt, &half));
  EXPECT_FALSE(acts(AdapterRows::routed, RowRole::routed, &full));
  EXPECT_TRUE(acts(AdapterRows::routed, RowRole::routed, &half));
  EXPECT_TRUE(acts(AdapterRows::routed, RowRole::routed, &confident));
  EXPECT_TRUE(acts(AdapterRows::all, RowRole::prompt, nullptr));
  EXPECT_TRUE(acts(AdapterRows::all, RowRole::routed, &full));
}

TEST(LoraAdapter, WriterRefusesWhatDoesNotFit) {
  const ModelConfig config = tiny(ModelFamily::llama);
  const TestFolder folder;
  Factors factors(config);
  EXPECT_THROW(write_lora_adapter(folder.path(), config, {.rank = 3}, {}), std::invalid_argument);
  factors.add(LayerIndex{0}, LinearRole::key);
  EXPECT_THROW(write_lora_adapter(folder.path(), config, {.rank = 4}, factors.outputs()),
               std::invalid_argument);
  factors.add(LayerIndex{0}, LinearRole::key);
  EXPECT_THROW(write_lora_adapter(folder.path(), config, {.rank = 3}, factors.outputs()),
               std::invalid_argument);
}

}  // namespace
}  // namespace fathom
