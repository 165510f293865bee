#include "train/finetuning.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/mapped_file.h"
#include "base/thread_team.h"
#include "engine/cpu_model.h"
#include "engine/golden_logits.h"
#include "formats/dequantize.h"
#include "formats/safetensors.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

std::vector<TrainingExample> golden_examples(const nlohmann::json& run) {
  std::vector<TrainingExample> examples;
  for (const auto& row : run["sequences"]) {
    examples.push_back({golden_tokens(row["ids"]), row["prompt"].get<std::size_t>()});
  }
  return examples;
}

const nlohmann::json& golden() {
  static const nlohmann::json json = read_golden(golden_folder() / "finetune.json");
  return json;
}

FinetuningOptions golden_options() {
  const nlohmann::json& options = golden()["options"];
  return {.schedule = {.peak = options["learning_rate"].get<double>(),
                       .warmup = options["warmup_steps"].get<std::uint64_t>(),
                       .steps = 50},
          .weight_decay = options["weight_decay"].get<double>(),
          .clip = options["clip"].get<double>(),
          .batch = 3,
          .accumulate = 2,
          .routes = {}};
}

Finetuning training_of(const std::string& name, FinetuningOptions options = golden_options()) {
  const nlohmann::json& run = golden()["runs"][name];
  return Finetuning(ModelFiles::open(golden_folder() / run["model"].get<std::string>()),
                    golden_examples(run), std::move(options));
}

std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(view.elements());
  dequantize(view.type, view.bytes, values);
  return values;
}

std::vector<double> losses_of(Finetuning& training, std::size_t steps) {
  std::vector<double> losses;
  for (std::size_t i = 0; i < steps; ++i) losses.push_back(training.step().loss);
  return losses;
}

class FinetuningTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, FinetuningTest, testing::Values("opt", "llama"));

TEST_P(FinetuningTest, FiftyLossesEqualTransformers) {
  const nlohmann::json& run = golden()["runs"][GetParam()];
  Finetuning training = training_of(GetParam());
  ASSERT_EQ(run["losses"].size(), 50U);
  for (std::size_t i = 0; i < 50; ++i) {
    const auto batches = run["batches"][i].get<std::vector<std::vector<std::size_t>>>();
    ASSERT_NEAR(training.step(batches).loss, run["losses"][i].get<double>(), 1e-4) << "step " << i;
  }
}

// On routes, towards the full model: what a person trains for depth with.
FinetuningOptions depth_options() {
  FinetuningOptions options = golden_options();
  options.routes = {Route::uniform(2, 4), Route::first(1, 4), Route::full(4)};
  options.target = TrainingTarget::full_model;
  return options;
}

TEST_P(FinetuningTest, ALoadedTrainingGoesOnToTheBit) {
  const TestFolder folder;
  const fs::path checkpoint = folder.path() / "checkpoint";
  Finetuning whole = training_of(GetParam(), depth_options());
  const std::vector<double> expected = losses_of(whole, 20);
  Finetuning begun = training_of(GetParam(), depth_options());
  losses_of(begun, 3);
  begun.save(checkpoint, "a training");  // is replaced
  losses_of(begun, 4);
  begun.save(checkpoint, "a training");
  Finetuning resumed = training_of(GetParam(), depth_options());
  EXPECT_FALSE(resumed.load(folder.path() / "none", "a training"));
  ASSERT_TRUE(resumed.load(checkpoint, "a training"));
  EXPECT_EQ(resumed.steps(), 7U);
  EXPECT_EQ(losses_of(resumed, 13), std::vector<double>(expected.begin() + 7, expected.end()));
  whole.write_model(folder.path() / "whole");
  resumed.write_model(folder.path() / "resumed");
  const auto bytes = [&](const char* name) {
    return read_text_file(folder.path() / name / "model.safetensors", std::size_t{1} << 24);
  };
  EXPECT_EQ(bytes("whole"), bytes("resumed"));
}

// ---- Adapters ----

FinetuningOptions adapter_options(AdapterRows rows, TrainingTarget target) {
  FinetuningOptions options = golden_options();
  options.schedule.peak = 0.02;
  options.weight_decay = 0;
  options.routes = {Route::first(1, 4), Route::uniform(2, 4)};
  options.target = target;
  options.lora = LoraOptions{.rank = 4, .alpha = 8, .rows = rows};
  return options;
}

using AdapterCase = std::tuple<AdapterRows, TrainingTarget>;
class AdapterTest : public testing::TestWithParam<AdapterCase> {
 protected:
  static FinetuningOptions options() {
    return adapter_options(std::get<0>(GetParam()), std::get<1>(GetParam()));
  }
};
INSTANTIATE_TEST_SUITE_P(
    All, AdapterTest,
    testing::Combine(testing::Values(AdapterRows::routed, AdapterRows::all),
                     testing::Values(TrainingTarget::labels, TrainingTarget::full_model)),
    [](const auto& instance) {
      return std::string(name(std::get<0>(instance.param))) +
             (std::get<1>(instance.param) == TrainingTarget::labels ? "_labels" : "_full_model");
    });

TEST_P(AdapterTest, LearnsAndGoesOnToTheBit) {
  const TestFolder folder;
  const fs::path checkpoint = folder.path() / "checkpoint";
  Finetuning whole = training_of("llama", options());
  const std::vector<double> expected = losses_of(whole, 50);
  const auto mean = [](auto begin, auto end) {
    return std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin);
  };
  EXPECT_LT(mean(expected.end() - 6, expected.end()),
            0.9 * mean(expected.begin(), expected.begin() + 6));
  Finetuning begun = training_of("llama", options());
  losses_of(begun, 7);
  begun.save(checkpoint, "a training");
  // What is kept is the adapter's: ten or so thousand numbers three times, not the model's.
  EXPECT_LT(fs::file_size(checkpoint / "weights.safetensors"), 100000U);
  EXPECT_LT(fs::file_size(checkpoint / "optimizer.safetensors"), 200000U);
  Finetuning resumed = training_of("llama", options());
  ASSERT_TRUE(resumed.load(checkpoint, "a training"));
  EXPECT_EQ(losses_of(resumed, 43), std::vector<double>(expected.begin() + 7, expected.end()));
}

// The first loss is that of the model as it is, whichever rows the adapter would act on.
TEST_P(AdapterTest, BeginsAtTheModelsOwnLoss) {
  FinetuningOptions full = options();
  full.lora.reset();
  Finetuning weights = training_of("llama", full);
  Finetuning adapter = training_of("llama", options());
  EXPECT_NEAR(adapter.step().loss, weights.step().loss, 1e-5);
}

// However many predictions have their logits at a time. Of the first step alone: what AdamW makes
// of a gradient near 0 depends on its rounding.
TEST_P(AdapterTest, LogitsOfSomeRowsAtATimeGiveTheSameLossAndGradient) {
  for (const bool weights : {false, true}) {
    const auto found = [&](std::optional<std::size_t> rows) {
      FinetuningOptions of_some = options();
      if (weights) of_some.lora.reset();
      of_some.logit_rows = rows;
      Finetuning training = training_of("llama", of_some);
      const double evaluated =
          training.evaluate(golden_examples(golden()["runs"]["llama"]), of_some.routes.data());
      const StepReport step = training.step();
      return std::array{evaluated, step.loss, step.gradient_norm};
    };
    const std::array expected = found(std::nullopt);
    for (const std::size_t rows : {1, 7}) {
      const std::array of_some = found(rows);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(of_some[i], expected[i], 1e-5 * expected[i]);
      }
    }
  }
}

TEST(Adapter, IsWrittenWithItsSettings) {
  const TestFolder folder;
  Finetuning training =
      training_of("llama", adapter_options(AdapterRows::routed, TrainingTarget::full_model));
  losses_of(training, 3);
  training.write_adapter(folder.path(), std::string(64, 'a'));
  const ModelFiles files = ModelFiles::open(golden_folder() / "tiny/rope-linear");
  const LoraAdapter adapter = LoraAdapter::open(folder.path(), files.config);
  EXPECT_EQ(adapter.settings.rank, 4U);
  EXPECT_EQ(adapter.settings.alpha, 8);
  EXPECT_EQ(adapter.settings.rows, AdapterRows::routed);
  EXPECT_EQ(adapter.settings.base_sha256, std::string(64, 'a'));
  ASSERT_EQ(adapter.layers.size(), 4U);
  // Where no route runs a layer it acts on nothing.
  EXPECT_EQ(adapter.settings.layers, (std::vector<std::uint64_t>{0, 2}));
  for (const std::size_t layer : {0, 2}) {
    for (const LinearRole role : linear_roles(files.config)) {
      ASSERT_TRUE(adapter.layers[layer][role]);
      EXPECT_EQ(adapter.layers[layer][role]->scale, 2);
    }
  }
}

// From a file that has the rows of query and key weights in another order than PEFT's, too.
TEST(Adapter, BeginsWithAnother) {
  const TestFolder folder;
  const GoldenFamily golden("smollm3");
  const TrainingExample example{golden.ids, golden.prompt};
  for (const std::string file : {"", "model.gguf"}) {
    const auto open = [&] { return ModelFiles::open(golden_families() / "smollm3" / file); };
    FinetuningOptions options = adapter_options(AdapterRows::routed, TrainingTarget::labels);
    Finetuning first(open(), {example}, options);
    losses_of(first, 3);
    first.write_adapter(folder.path() / "first", std::string(64, 'a'));
    options.lora->start = LoraAdapter::open(folder.path() / "first", open().config);
    options.seed = 9;  // that of the factors it would else begin with
    const Finetuning second(open(), {example}, options);
    for (const Route& route : options.routes) {
      EXPECT_EQ(second.evaluate(std::vector{example}, &route),
                first.evaluate(std::vector{example}, &route));
    }
    second.write_adapter(folder.path() / "second", std::string(64, 'a'));
    const auto bytes = [&](const char* name) {
      return read_text_file(folder.path() / name / "adapter_model.safetensors",
                            std::size_t{1} << 24);
    };
    EXPECT_EQ(bytes("first"), bytes("second"));
    // Layers that it has nothing for begin as they would without it.
    options.routes.push_back(Route::first(2, options.routes.front().depth()));
    const Finetuning wider(open(), {example}, options);
    EXPECT_EQ(wider.evaluate(std::vector{example}, options.routes.data()),
              first.evaluate(std::vector{example}, options.routes.data()));
    options.lora->rank = 3;
    EXPECT_THROW(Finetuning(open(), {example}, options), InputError);
  }
}

// PEFT's losses, from PEFT's adapter; what is written then has PEFT's names and shapes.
TEST(Adapter, TrainsAsPeftDoes) {
  const TestFolder folder;
  const fs::path peft = golden_folder() / "finetune_lora";
  const nlohmann::json run = read_golden(peft / "losses.json");
  FinetuningOptions options = golden_options();
  options.schedule.steps = run["steps"].get<std::uint64_t>();
  options.lora = LoraOptions{.rank = run["rank"].get<std::size_t>(),
                             .alpha = run["alpha"].get<double>(),
                             .rows = AdapterRows::all};
  Finetuning training(ModelFiles::open(golden_folder() / "tiny/rope-linear"), golden_examples(run),
                      options);
  // A checkpoint's weights are what is trained, under PEFT's names.
  const fs::path checkpoint = folder.path() / "checkpoint";
  training.save(checkpoint, "");
  fs::copy_file(peft / "adapter_model.safetensors", checkpoint / "weights.safetensors",
                fs::copy_options::overwrite_existing);
  ASSERT_TRUE(training.load(checkpoint, ""));
  for (std::size_t i = 0; i < run["losses"].size(); ++i) {
    const auto batches = run["batches"][i].get<std::vector<std::vector<std::size_t>>>();
    ASSERT_NEAR(training.step(batches).loss, run["losses"][i].get<double>(), 1e-4) << "step " << i;
  }
  training.write_adapter(folder.path() / "adapter", std::string(64, 'a'));
  const TensorSource ours = open_lora_tensors(folder.path() / "adapter");
  const TensorSource theirs = open_lora_tensors(peft);
  ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
  for (const auto& [name, tensor] : theirs.tensors()) {
    ASSERT_NE(ours.find(name), nullptr) << name;
    EXPECT_EQ(ours.find(name)->shape, tensor.shape) << name;
  }
  // The rate has come down to 0.
  std::vector<std::size_t> all(run["sequences"].size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  EXPECT_NEAR(training.step(std::vector(1, all)).loss, run["after"].get<double>(), 1e-4);
  if (const char* const keep =
          std::getenv("FATHOM_KEEP_ADAPTER")) {  // for golden/finetune_lora.py --check
    fs::copy(folder.path() / "adapter", keep, fs::copy_options::recursive);
  }
}

// GGUF files have the rows of Llama's query and key weights in another order. The adapter that is
// trained on one is the adapter that is trained on the folder.
TEST(Adapter, OfAGgufFileIsThatOfTheFolder) {
  const TestFolder folder;
  const fs::path smollm3 = golden_families() / "smollm3";
  const GoldenFamily golden("smollm3");
  FinetuningOptions options = adapter_options(AdapterRows::all, TrainingTarget::labels);
  options.schedule.warmup = 0;
  const ModelFiles model = ModelFiles::open(smollm3);
  options.routes = {Route::first(2, model.config.depth())};
  const auto train = [&](const fs::path& from, const char* to) {
    Finetuning training(ModelFiles::open(from), {{golden.ids, golden.prompt}}, options);
    losses_of(training, 3);
    training.write_adapter(folder.path() / to, std::string(64, 'a'));
    return LoraAdapter::open(folder.path() / to, model.config);
  };
  const LoraAdapter a = train(smollm3, "folder");
  const LoraAdapter b = train(smollm3 / "model.gguf", "gguf");
  for (const LinearRole role : {LinearRole::query, LinearRole::key, LinearRole::value}) {
    // Not number by number: a step of Adam's goes by the sign of gradients, which may be nothing
    // but rounding.
    const std::vector<float> x = values_of(a.layers[0][role]->b);
    const std::vector<float> y = values_of(b.layers[0][role]->b);
    ASSERT_EQ(x.size(), y.size());
    const auto product = [](const std::vector<float>& p, const std::vector<float>& q) {
      return std::inner_product(p.begin(), p.end(), q.begin(), 0.0);
    };
    EXPECT_GT(product(x, y) / std::sqrt(product(x, x) * product(y, y)), 0.99);
  }
}

// Half the bytes, and each number the nearest of its type.
TEST(Adapter, IsStoredInHalfPrecision) {
  const TestFolder folder;
  const GoldenFamily golden("smollm3");
  const fs::path from = golden_families() / "smollm3";
  const ModelConfig config = ModelFiles::open(from).config;
  const auto write = [&](TensorType type, const fs::path& to) {
    FinetuningOptions options = adapter_options(AdapterRows::all, TrainingTarget::labels);
    options.lora->stored = type;
    Finetuning training(ModelFiles::open(from), {{golden.ids, golden.prompt}}, options);
    losses_of(training, 2);
    training.write_adapter(to, std::string(64, 'a'));
    return LoraAdapter::open(to, config);
  };
  const LoraAdapter wide = write(TensorType::F32, folder.path() / "wide");
  const LoraAdapter narrow = write(TensorType::F16, folder.path() / "narrow");
  for (std::size_t layer = 0; layer < wide.layers.size(); ++layer) {
    for (const LinearRole role : linear_roles(config)) {
      const TensorView& expected = wide.layers[layer][role]->a;
      const TensorView& found = narrow.layers[layer][role]->a;
      ASSERT_EQ(found.type, TensorType::F16);
      ASSERT_EQ(2 * found.bytes.size(), expected.bytes.size());
      std::vector<float> of_wide(expected.elements());
      std::vector<float> of_narrow(found.elements());
      dequantize(expected.type, expected.bytes, of_wide);
      dequantize(found.type, found.bytes, of_narrow);
      for (std::size_t i = 0; i < of_wide.size(); ++i) {
        // Half of the last of 11 bits, or of the smallest number.
        const float bound = std::max(std::abs(of_wide[i]) / 2048, std::ldexp(1.0F, -25));
        ASSERT_LE(std::abs(of_narrow[i] - of_wide[i]), bound);
      }
    }
  }
}

// The adapter in memory is the one that is written, to the bit, in the engine and whichever file
// the model comes from. On rows that it acts on it does something; on others it does nothing.
TEST(Adapter, RunsInTheEngineFromMemory) {
  const TestFolder folder;
  for (const std::string file : {"", "model.gguf"}) {
    const GoldenFamily golden("smollm3");
    const fs::path from = golden_families() / "smollm3" / file;
    FinetuningOptions options = adapter_options(AdapterRows::routed, TrainingTarget::labels);
    options.schedule.warmup = 0;
    const ModelFiles files = ModelFiles::open(from);
    const std::int32_t depth = files.config.depth();
    options.routes = {Route::first(2, depth)};
    Finetuning training(ModelFiles::open(from), {{golden.ids, golden.prompt}}, options);
    losses_of(training, 3);
    const fs::path written = folder.path() / ("adapter" + file);
    training.write_adapter(written, std::string(64, 'a'));
    std::optional<LoraAdapter> in_memory = training.trained_adapter();
    ASSERT_TRUE(in_memory);
    // It is a copy: what is trained goes on.
    losses_of(training, 1);
    ThreadTeam team(1);
    CpuModel model(training.trained_model(), Precision::exact, kernels(), team);
    const RouteSelector shallow(options.routes.front());
    const RouteSelector full(Route::full(depth));
    const auto run = [&](const Selector& route) {
      return run_golden(model, golden, golden.prompt, route);
    };
    const SequenceLogits bare = run(shallow);
    const SequenceLogits bare_full = run(full);
    model.set_adapter(*in_memory);
    in_memory.reset();
    const SequenceLogits adapted = run(shallow);
    EXPECT_NE(adapted, bare) << file;
    EXPECT_EQ(run(full), bare_full) << file;
    model.set_adapter(LoraAdapter::open(written, files.config));
    EXPECT_EQ(run(shallow), adapted) << file;
  }
}

TEST(Adapter, ThereIsNoneIfWeightsAreTrained) {
  EXPECT_FALSE(training_of("llama").trained_adapter());
}

TEST(FinetuningErrors, AnAdapterThatWouldDoNothingIsRefused) {
  FinetuningOptions options = adapter_options(AdapterRows::routed, TrainingTarget::labels);
  options.routes.push_back(Route::full(4));
  EXPECT_THROW(training_of("llama", options), InputError);
  options.routes.clear();
  EXPECT_THROW(training_of("llama", options), InputError);
  options.lora->rows = AdapterRows::all;
  EXPECT_NO_THROW(training_of("llama", options));
}

TEST(FinetuningErrors, ACheckpointOfAnotherTrainingIsRefused) {
  const TestFolder folder;
  const fs::path checkpoint = folder.path() / "checkpoint";
  Finetuning training = training_of("opt");
  training.save(checkpoint, "seed 1");
  EXPECT_THAT(error_of<FileError>([&] { training.load(checkpoint, "seed 2"); }),
              testing::HasSubstr("seed 1 found, seed 2 expected"));
  Finetuning other = training_of("llama");
  EXPECT_THROW(other.load(checkpoint, "seed 1"), FileError);
  folder.write("checkpoint/state.json", "[1");
  EXPECT_THAT(error_of<FileError>([&] { training.load(checkpoint, "seed 1"); }),
              testing::HasSubstr("state.json"));
}

TEST(FinetuningErrors, RowsThatCannotBeTrainedOnAreNamed) {
  const auto error = [](std::vector<TrainingExample> examples) {
    return error_of<InputError>([&] {
      Finetuning(ModelFiles::open(golden_families() / "opt"), std::move(examples),
                 golden_options());
    });
  };
  EXPECT_THAT(error({}), testing::HasSubstr("no rows"));
  EXPECT_THAT(error({{{TokenId{1}, TokenId{2}}, 2}}), testing::HasSubstr("row 1"));
  EXPECT_THAT(error({{std::vector<TokenId>(65), 2}}), testing::HasSubstr("65 tokens"));
}

// Everything that draws: dropout, layer dropout, routes.
FinetuningOptions drawing_options() {
  FinetuningOptions options = depth_options();
  options.layer_dropout = 0.3;
  options.dropout = {.embedding = 0.1, .attention = 0.1, .residual = 0.1};
  options.skipped = SkippedLayers::frozen;
  return options;
}

TEST_P(FinetuningTest, WhatIsDrawnDependsOnSeedAndStepAlone) {
  const TestFolder folder;
  Finetuning whole = training_of(GetParam(), drawing_options());
  const std::vector<double> expected = losses_of(whole, 12);
  FinetuningOptions recomputing = drawing_options();
  recomputing.activations = ActivationStorage::recomputed;
  Finetuning begun = training_of(GetParam(), recomputing);
  losses_of(begun, 5);
  begun.save(folder.path() / "checkpoint", "");
  Finetuning resumed = training_of(GetParam(), recomputing);
  ASSERT_TRUE(resumed.load(folder.path() / "checkpoint", ""));
  EXPECT_EQ(losses_of(resumed, 7), std::vector<double>(expected.begin() + 5, expected.end()));
  FinetuningOptions other = drawing_options();
  other.layer_dropout = 0;
  Finetuning another = training_of(GetParam(), other);
  EXPECT_NE(losses_of(another, 3), std::vector<double>(expected.begin(), expected.begin() + 3));
}

TEST(SkippedLayers, StayAsTheyAreIfTheyAreFrozen) {
  const TestFolder folder;
  const fs::path before = golden_folder() / "tiny/rope-linear";
  FinetuningOptions options = golden_options();
  options.schedule.warmup = 0;
  options.routes = {Route::of(std::vector{LayerIndex{0}, LayerIndex{2}}, 4)};
  for (const SkippedLayers skipped : {SkippedLayers::trained, SkippedLayers::frozen}) {
    const bool frozen = skipped == SkippedLayers::frozen;
    const fs::path after = folder.path() / (frozen ? "frozen" : "trained");
    options.skipped = skipped;
    Finetuning training = training_of("llama", options);
    losses_of(training, 2);
    training.write_model(after);
    const TensorSource old = open_safetensors(before / "model.safetensors");
    const TensorSource now = open_safetensors(after / "model.safetensors");
    for (const auto& [name, tensor] : now.tensors()) {
      const TensorView& was = old.require(name, tensor.shape);
      const bool same = values_of(tensor) == values_of(was);
      const bool skips = name.find(".layers.1.") != std::string::npos ||
                         name.find(".layers.3.") != std::string::npos;
      EXPECT_EQ(same, frozen && skips) << name;
    }
    training.save(after / "checkpoint", "");
    const TensorSource state = open_safetensors(after / "checkpoint" / "optimizer.safetensors");
    EXPECT_EQ(state.find("mean.model.layers.1.mlp.up_proj.weight") == nullptr, frozen);
    EXPECT_NE(state.find("mean.model.layers.2.mlp.up_proj.weight"), nullptr);
  }
}

// Rows that are evaluated have the loss that a step on them has before its change.
TEST(Evaluation, IsTheLossOfAStep) {
  for (const auto rows : {std::optional<AdapterRows>(), std::optional(AdapterRows::routed),
                          std::optional(AdapterRows::all)}) {
    for (const auto target : {TrainingTarget::labels, TrainingTarget::full_model}) {
      FinetuningOptions options = golden_options();
      options.routes = {Route::first(2, 4)};
      options.target = target;
      if (rows) options.lora = LoraOptions{.rank = 2, .alpha = 4, .rows = *rows};
      Finetuning training = training_of("llama", options);
      losses_of(training, 5);
      const std::vector<TrainingExample> examples = golden_examples(golden()["runs"]["llama"]);
      std::vector<std::size_t> all(examples.size());
      std::iota(all.begin(), all.end(), std::size_t{0});
      const double loss = training.evaluate(examples, &options.routes.front());
      EXPECT_NEAR(training.step(std::vector(1, all)).loss, loss, 1e-5);
    }
  }
}

// A step towards the full model leaves it alone where the route is the full one: the divergence and
// its gradient are 0.
TEST(FinetuningTargets, TheFullModelIsWhereDistillingBegins) {
  FinetuningOptions options = depth_options();
  options.routes = {Route::full(4)};
  options.schedule.warmup = 0;
  options.weight_decay = 0;
  Finetuning training = training_of("llama", options);
  EXPECT_NEAR(training.step().loss, 0, 1e-6);
  options.routes = {Route::first(1, 4)};
  Finetuning shallow = training_of("llama", options);
  const std::vector<double> losses = losses_of(shallow, 40);
  EXPECT_GT(losses.front(), 0.1);
  EXPECT_LT(losses.back(), losses.front() / 2);
}

// The weights in memory, without a file: what the engine computes from them is what training does.
TEST(FinetunedModel, RunsInTheEngineFromMemory) {
  for (const std::string file : {"", "model.gguf"}) {
    const GoldenFamily golden("gpt2");
    const fs::path from = golden_families() / "gpt2" / file;
    FinetuningOptions options = golden_options();
    options.schedule.warmup = 0;
    Finetuning training(ModelFiles::open(from), {{golden.ids, golden.prompt}}, options);
    losses_of(training, 2);
    ThreadTeam team(1);
    CpuModel model(training.trained_model(), Precision::exact, kernels(), team);
    const auto cache = model.new_cache(golden.ids.size());
    SequenceLogits logits;
    append_steps(model, *cache, golden.ids, nullptr, logits);
    double loss = 0;
    for (std::size_t t = golden.prompt; t < golden.ids.size(); ++t) {
      const std::vector<float>& row = logits[t - 1];
      double sum = 0;
      for (const float value : row) sum += std::exp(static_cast<double>(value));
      loss += std::log(sum) - static_cast<double>(row[golden.ids[t].index()]);
    }
    loss /= static_cast<double>(golden.ids.size() - golden.prompt);
    EXPECT_NEAR(training.step().loss, loss, 1e-4) << file;
  }
}

// What is written is what was trained, from folders (fused maps, too) and from GGUF files.
TEST(FinetunedModel, IsReadBackWithTheTrainedWeights) {
  const TestFolder folder;
  for (const std::string name : {"opt", "gpt2", "smollm3"}) {
    const GoldenFamily expected(name);
    for (const std::string file : {"", "model.gguf"}) {
      const fs::path from = golden_families() / name / file;
      FinetuningOptions options = golden_options();
      options.schedule.warmup = 0;
      Finetuning training(ModelFiles::open(from), {{expected.ids, expected.prompt}}, options);
      const fs::path untouched = folder.path() / ("a" + name + file);
      training.write_model(untouched);
      TorchModel same(ModelFiles::open(untouched), {});
      expect_golden_logits(same, expected, expected.prompt, name + file);
      const double before = training.step().loss;
      const double after = training.step().loss;
      EXPECT_LT(after, before);
      // The loss that the written model has is that of the next step.
      const fs::path trained = folder.path() / ("b" + name + file);
      training.write_model(trained);
      options.schedule.steps = 1;
      Finetuning again(ModelFiles::open(trained), {{expected.ids, expected.prompt}}, options);
      EXPECT_NEAR(again.step().loss, training.step().loss, 1e-5) << from;
    }
  }
}

}  // namespace
}  // namespace fathom
