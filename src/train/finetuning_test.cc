#include "train/finetuning.h"

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/mapped_file.h"
#include "engine/golden_logits.h"
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
