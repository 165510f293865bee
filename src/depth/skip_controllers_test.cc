#include "depth/skip_controllers.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

using testing::HasSubstr;

// Gates of a model of `depth` layers and a width of 11, which is no multiple of the lanes: the
// difference of the logits is 0.25 h[0] - 0.5 h[10] + layer, or their sum over ones.
std::vector<GateWeights> gates(std::int32_t depth) {
  std::vector<GateWeights> result;
  for (std::int32_t layer = 1; layer < depth - 1; ++layer) {
    GateWeights gate{.weight = std::vector<float>(22), .bias = {0.5F, 0.5F - 1.0F * layer}};
    gate.weight[0] = 0.125F;
    gate.weight[11] = -0.125F;
    gate.weight[10] = -0.25F;
    gate.weight[21] = 0.25F;
    result.push_back(gate);
  }
  return result;
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

TEST(SkipControllers, ProbabilitiesAreThoseOfASoftmaxOfTwoLogits) {
  const SkipControllers hidden(4, 11, ControllerInput::hidden, gates(4));
  std::vector<float> state(11, 3.0F);
  state[0] = 2;
  state[10] = 8;
  EXPECT_NEAR(hidden.execute_probability(LayerIndex{1}, state), logistic(0.5 - 4 + 1), 1e-12);
  EXPECT_NEAR(hidden.execute_probability(LayerIndex{2}, state), logistic(0.5 - 4 + 2), 1e-12);
  const SkipControllers fixed(4, 11, ControllerInput::fixed, gates(4));
  EXPECT_NEAR(fixed.execute_probability(LayerIndex{1}, state), logistic(0.25 - 0.5 + 1), 1e-12);
}

TEST(SkipControllers, EveryLayerButTheFirstAndTheLastHasOne) {
  const SkipControllers controllers(4, 11, ControllerInput::fixed, gates(4));
  const std::vector<bool> expected{false, true, true, false};
  for (std::int32_t layer = 0; layer < 4; ++layer) {
    EXPECT_EQ(controllers.has_gate(LayerIndex{layer}), expected[static_cast<std::size_t>(layer)]);
  }
  EXPECT_THAT(
      error_of<InputError>([] { SkipControllers(5, 11, ControllerInput::fixed, gates(4)); }),
      testing::AllOf(HasSubstr("2 gates"), HasSubstr("5")));
  EXPECT_THAT(error_of<InputError>([] { SkipControllers(2, 11, ControllerInput::fixed, {}); }),
              HasSubstr("2 layers"));
  EXPECT_THAT(
      error_of<InputError>([] { SkipControllers(4, 12, ControllerInput::fixed, gates(4)); }),
      testing::AllOf(HasSubstr("layer 2"), HasSubstr("2 x 12")));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<GateWeights> damaged = gates(4);
    damaged[1].bias[1] = bad;
    EXPECT_THAT(
        error_of<InputError>([&] { SkipControllers(4, 11, ControllerInput::fixed, damaged); }),
        testing::AllOf(HasSubstr("layer 3"), HasSubstr("not finite")));
  }
}

TEST(GateRule, ReadsWhatItWrites) {
  for (const std::string text : {"sample", "argmax", "threshold:0.25", "threshold:1"}) {
    EXPECT_EQ(to_string(parse_gate_rule(text)), text);
  }
  EXPECT_EQ(parse_gate_rule("threshold:0.5"), parse_gate_rule("argmax"));
  for (const std::string text : {"", "draw", "threshold", "threshold:", "threshold:1.5",
                                 "threshold:-0.1", "threshold:nan", "threshold:0.5x", "argmax:1"}) {
    EXPECT_THAT(error_of<InputError>([&] { parse_gate_rule(text); }), HasSubstr("'" + text + "'"));
  }
}

// Rows of a step, at positions from 7 on.
struct Rows {
  std::vector<float> hidden;
  [[nodiscard]] LayerRows rows(std::size_t first, std::size_t count) const {
    return {.first = Position{7 + static_cast<std::int32_t>(first)},
            .count = count,
            .width = 11,
            .hidden = std::span(hidden).subspan(first * 11, count * 11)};
  }
};

std::vector<std::size_t> run(const ControllerSelector& selector, LayerIndex layer,
                             const LayerRows& rows) {
  std::vector<std::size_t> running;
  selector.select(layer, rows, running);
  return running;
}

TEST(ControllerSelector, ThresholdsCompareProbabilities) {
  const auto controllers =
      std::make_shared<SkipControllers>(4, 11, ControllerInput::hidden, gates(4));
  Rows rows{std::vector<float>(4 * 11)};
  // Odds of layer 2: 1, -1, 0 and 3.
  rows.hidden[1 * 11] = -8;
  rows.hidden[2 * 11] = -4;
  rows.hidden[3 * 11] = 8;
  const ControllerSelector argmax(controllers, parse_gate_rule("argmax"), 0, 0);
  EXPECT_EQ(run(argmax, LayerIndex{1}, rows.rows(0, 4)), (std::vector<std::size_t>{0, 2, 3}));
  const ControllerSelector sure(controllers, parse_gate_rule("threshold:0.9"), 0, 0);
  EXPECT_EQ(run(sure, LayerIndex{1}, rows.rows(0, 4)), std::vector<std::size_t>{3});
  const ControllerSelector always(controllers, parse_gate_rule("threshold:0"), 0, 0);
  EXPECT_EQ(run(always, LayerIndex{1}, rows.rows(0, 4)), (std::vector<std::size_t>{0, 1, 2, 3}));
  // Layers without a gate run.
  EXPECT_EQ(run(sure, LayerIndex{0}, rows.rows(0, 2)), (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(run(sure, LayerIndex{3}, rows.rows(0, 2)), (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(sure.fixed_route(), nullptr);
}

TEST(ControllerSelector, DrawsDependOnSeedSequencePositionAndLayerAlone) {
  const auto controllers =
      std::make_shared<SkipControllers>(4, 11, ControllerInput::fixed, gates(4));
  const Rows rows{std::vector<float>(4000 * 11)};
  const auto draws = [&](std::uint64_t seed, std::uint64_t sequence, std::int32_t layer) {
    return run(ControllerSelector(controllers, {}, seed, sequence), LayerIndex{layer},
               rows.rows(0, 4000));
  };
  const std::vector<std::size_t> all = draws(1, 2, 1);
  EXPECT_EQ(all, draws(1, 2, 1));
  EXPECT_NE(all, draws(2, 2, 1));
  EXPECT_NE(all, draws(1, 3, 1));
  EXPECT_NE(all, draws(1, 2, 2));
  // A row at a time, with nothing before it.
  std::vector<std::size_t> alone;
  const ControllerSelector selector(controllers, {}, 1, 2);
  for (std::size_t row = 0; row < 4000; ++row) {
    if (!run(selector, LayerIndex{1}, rows.rows(row, 1)).empty()) alone.push_back(row);
  }
  EXPECT_EQ(all, alone);
  // As often as the probability says: five standard deviations.
  const double probability = logistic(0.25 - 0.5 + 1);
  EXPECT_NEAR(static_cast<double>(all.size()) / 4000, probability,
              5 * std::sqrt(probability * (1 - probability) / 4000));
}

}  // namespace
}  // namespace fathom
