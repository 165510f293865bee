#include "train/controller_training.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/mapped_file.h"
#include "engine/golden_logits.h"
#include "formats/test_folder.h"
#include "model/controller_file.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// The rows of golden/finetune.json, of a tiny OPT.
std::vector<TrainingExample> all_examples() {
  static const nlohmann::json json = read_golden(golden_folder() / "finetune.json");
  std::vector<TrainingExample> examples;
  for (const auto& row : json["runs"]["opt"]["sequences"]) {
    examples.push_back({golden_tokens(row["ids"]), row["prompt"].get<std::size_t>()});
  }
  return examples;
}

ControllerTraining training_of(const ControllerTrainingOptions& options) {
  std::vector<TrainingExample> examples = all_examples();
  const auto middle = examples.end() - 5;
  return {ModelFiles::open(golden_families() / "opt"),
          {examples.begin(), middle},
          {middle, examples.end()},
          options};
}

ControllerTrainingOptions options_of(Backbone backbone, ControllerInput input) {
  return {.schedule = {.peak = 1e-3, .warmup = 2, .steps = 60},
          .controller_learning_rate = 2e-2,
          .weight_decay = 0.01,
          .batch = 3,
          .accumulate = 2,
          .input = input,
          .backbone = backbone,
          .alpha = 0.5};
}

struct Case {
  Backbone backbone;
  ControllerInput input;
};

class ControllerTrainingTest : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(All, ControllerTrainingTest,
                         testing::Values(Case{Backbone::joint, ControllerInput::hidden},
                                         Case{Backbone::joint, ControllerInput::fixed},
                                         Case{Backbone::frozen, ControllerInput::hidden},
                                         Case{Backbone::frozen, ControllerInput::fixed}),
                         [](const auto& instance) {
                           return std::string(instance.param.backbone == Backbone::joint
                                                  ? "joint_"
                                                  : "frozen_") +
                                  std::string(name(instance.param.input));
                         });

std::vector<double> losses_of(ControllerTraining& training, std::size_t steps) {
  std::vector<double> losses;
  for (std::size_t i = 0; i < steps; ++i) losses.push_back(training.step().loss.loss);
  return losses;
}

TEST_P(ControllerTrainingTest, BeginsAtNineTenths) {
  ControllerTraining training = training_of(options_of(GetParam().backbone, GetParam().input));
  const ControllerStep step = training.step();
  EXPECT_NEAR(step.loss.cost, 0.9, 1e-6);
  EXPECT_NEAR(step.loss.loss, step.loss.prediction + 0.5 * step.loss.cost, 1e-9);
  EXPECT_GT(step.loss.prediction, 0);
  EXPECT_GT(step.loss.mean_layers, 2 + 2 * 0.7);
  EXPECT_LT(step.loss.mean_layers, 4);
}

TEST_P(ControllerTrainingTest, ALoadedTrainingGoesOnToTheBit) {
  const TestFolder folder;
  const fs::path checkpoint = folder.path() / "checkpoint";
  const ControllerTrainingOptions options = options_of(GetParam().backbone, GetParam().input);
  ControllerTraining whole = training_of(options);
  const std::vector<double> expected = losses_of(whole, 12);
  ControllerTraining begun = training_of(options);
  losses_of(begun, 5);
  begun.save(checkpoint, "a training");
  ControllerTraining resumed = training_of(options);
  EXPECT_FALSE(resumed.load(folder.path() / "none", "a training"));
  ASSERT_TRUE(resumed.load(checkpoint, "a training"));
  EXPECT_EQ(resumed.steps(), 5U);
  EXPECT_EQ(losses_of(resumed, 7), std::vector<double>(expected.begin() + 5, expected.end()));
  EXPECT_EQ(resumed.evaluate().loss, whole.evaluate().loss);
  const auto bytes = [&](const ControllerTraining& training) {
    const fs::path path = folder.path() / "c.safetensors";
    write_controllers(path, {.controllers = training.controllers(), .alpha = options.alpha});
    training.write_model(folder.path() / "model");
    return read_text_file(path, std::size_t{1} << 24) +
           read_text_file(folder.path() / "model" / "model.safetensors", std::size_t{1} << 24);
  };
  EXPECT_EQ(bytes(whole), bytes(resumed));
  EXPECT_THAT(error_of<FileError>([&] { resumed.load(checkpoint, "another"); }),
              testing::HasSubstr("a training found, another expected"));
}

// A great alpha shuts the gates, and none opens them; the model of a frozen backbone stays.
TEST_P(ControllerTrainingTest, AlphaSetsTheCost) {
  ControllerTrainingOptions options = options_of(GetParam().backbone, GetParam().input);
  std::vector<double> layers;
  for (const double alpha : {0.0, 20.0}) {
    options.alpha = alpha;
    ControllerTraining training = training_of(options);
    const ControllerLoss before = training.evaluate();
    EXPECT_EQ(before.loss, training.evaluate().loss);  // drawn alike each time
    losses_of(training, 60);
    const ControllerLoss after = training.evaluate();
    EXPECT_LT(after.loss, before.loss) << alpha;
    layers.push_back(after.mean_layers);
  }
  EXPECT_GT(layers[0], layers[1] + 0.5);
}

TEST(ControllerTraining, AFrozenBackboneStays) {
  const TestFolder folder;
  ControllerTraining frozen = training_of(options_of(Backbone::frozen, ControllerInput::hidden));
  frozen.write_model(folder.path() / "before");
  losses_of(frozen, 3);
  frozen.write_model(folder.path() / "after");
  const auto bytes = [&](const char* name) {
    return read_text_file(folder.path() / name / "model.safetensors", std::size_t{1} << 24);
  };
  EXPECT_EQ(bytes("before"), bytes("after"));
  ControllerTraining joint = training_of(options_of(Backbone::joint, ControllerInput::hidden));
  losses_of(joint, 3);
  joint.write_model(folder.path() / "after");
  EXPECT_NE(bytes("before"), bytes("after"));
}

// The sum is the mean times the layers with a gate; on labels the loss is cross-entropy.
TEST(ControllerTraining, TargetsAndCostTerms) {
  ControllerTrainingOptions options = options_of(Backbone::frozen, ControllerInput::fixed);
  const ControllerLoss mean = training_of(options).evaluate();
  options.cost_term = CostTerm::sum;
  const ControllerLoss sum = training_of(options).evaluate();
  EXPECT_NEAR(sum.cost, mean.cost * 2, 1e-6);  // of 4 layers
  EXPECT_EQ(sum.prediction, mean.prediction);
  options.target = TrainingTarget::labels;
  const ControllerLoss labels = training_of(options).evaluate();
  EXPECT_GT(labels.prediction, mean.prediction);
}

TEST(ControllerTraining, RowsThatCannotBeTrainedOnAreNamed) {
  const auto error = [](std::vector<TrainingExample> examples,
                        std::vector<TrainingExample> held_out) {
    return error_of<InputError>([&] {
      ControllerTraining(ModelFiles::open(golden_families() / "opt"), std::move(examples),
                         std::move(held_out), options_of(Backbone::frozen, ControllerInput::fixed));
    });
  };
  const std::vector<TrainingExample> good = all_examples();
  EXPECT_THAT(error({}, good), testing::HasSubstr("no rows to train on"));
  EXPECT_THAT(error(good, {}), testing::HasSubstr("no rows to evaluate with"));
  EXPECT_THAT(error(good, {{{TokenId{1}, TokenId{2}}, 2}}),
              testing::HasSubstr("row 1 to evaluate with"));
  EXPECT_THAT(error({{std::vector<TokenId>(65), 2}}, good), testing::HasSubstr("65 tokens"));
}

}  // namespace
}  // namespace fathom
