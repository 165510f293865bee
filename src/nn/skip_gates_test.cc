#include "nn/skip_gates.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <cmath>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/random.h"
#include "engine/golden_logits.h"
#include "model/model_files.h"
#include "nn/training_pass.h"

namespace fathom {
namespace {

const nlohmann::json& golden() {
  static const nlohmann::json json = read_golden(golden_folder() / "gates.json");
  return json;
}

// Rows of numbers, or one, in float64.
at::Tensor tensor_of(const nlohmann::json& values) {
  const auto rows = static_cast<std::int64_t>(values.size());
  const bool matrix = values[0].is_array();
  const auto columns = matrix ? static_cast<std::int64_t>(values[0].size()) : 1;
  at::Tensor tensor = at::empty({rows, columns}, at::kDouble);
  auto* out = tensor.data_ptr<double>();
  for (const auto& row : values) {
    if (!matrix) {
      *out++ = row.get<double>();
      continue;
    }
    for (const auto& value : row) *out++ = value.get<double>();
  }
  return matrix ? tensor : tensor.squeeze(1);
}

void expect_close(const at::Tensor& found, const at::Tensor& expected) {
  ASSERT_EQ(found.sizes(), expected.sizes());
  EXPECT_LT((found - expected).abs().max().item<double>(), 1e-9);
}

TEST(HardGate, SamplesAndGradientsEqualPyTorchs) {
  const nlohmann::json& expected = golden()["gates"];
  const at::Tensor logits = tensor_of(expected["logits"]).set_requires_grad(true);
  const at::Tensor gate = hard_gate(logits, tensor_of(expected["noise"]));
  EXPECT_TRUE(gate.detach().equal(tensor_of(expected["samples"])));
  // Both kinds of decisions are among them.
  EXPECT_GT(gate.sum().item<double>(), 0);
  EXPECT_LT(gate.sum().item<double>(), static_cast<double>(gate.numel()));
  (gate * tensor_of(expected["upstream"])).sum().backward();
  expect_close(logits.grad(), tensor_of(expected["gradient"]));
  expect_close(execute_probability(logits).detach(), tensor_of(expected["probabilities"]));
}

TEST(SummedDivergence, ValueAndGradientEqualPyTorchs) {
  const nlohmann::json& expected = golden()["divergence"];
  const at::Tensor logits = tensor_of(expected["logits"]).set_requires_grad(true);
  const at::Tensor value =
      summed_divergence(logits, at::log_softmax(tensor_of(expected["teacher"]), -1));
  EXPECT_NEAR(value.item<double>(), expected["value"].get<double>(), 1e-9);
  value.backward();
  expect_close(logits.grad(), tensor_of(expected["gradient"]));
}

TEST(GumbelNoise, DependsOnItsKeysAloneAndIsGumbel) {
  std::vector<NoiseKey> keys;
  for (std::int32_t i = 0; i < 20000; ++i) keys.push_back({.sequence = 5, .position = Position{i}});
  const at::Tensor noise = gumbel_noise(1, LayerIndex{2}, keys);
  EXPECT_TRUE(noise.equal(gumbel_noise(1, LayerIndex{2}, keys)));
  EXPECT_TRUE(
      noise.narrow(0, 70, 3).equal(gumbel_noise(1, LayerIndex{2}, std::span(keys).subspan(70, 3))));
  EXPECT_FALSE(noise.equal(gumbel_noise(2, LayerIndex{2}, keys)));
  EXPECT_FALSE(noise.equal(gumbel_noise(1, LayerIndex{3}, keys)));
  for (NoiseKey& key : keys) key.sequence = 6;
  EXPECT_FALSE(noise.equal(gumbel_noise(1, LayerIndex{2}, keys)));
  // Mean and variance of a Gumbel distribution; 40,000 draws.
  const double euler = 0.5772156649;
  EXPECT_NEAR(noise.mean().item<double>(), euler, 0.03);
  EXPECT_NEAR(noise.var().item<double>(), M_PI * M_PI / 6, 0.08);
  // The difference of two is logistic, so a gate opens as often as its probability says.
  const at::Tensor logits = at::zeros({20000, 2});
  logits.select(1, 0).fill_(1.2);
  const double opened = hard_gate(logits, noise).mean().item<double>();
  EXPECT_NEAR(opened, 1 / (1 + std::exp(-1.2)), 0.015);
}

class SkipGatesTest : public testing::TestWithParam<ControllerInput> {};
INSTANTIATE_TEST_SUITE_P(All, SkipGatesTest,
                         testing::Values(ControllerInput::hidden, ControllerInput::fixed),
                         [](const auto& instance) { return std::string(name(instance.param)); });

TEST_P(SkipGatesTest, BeginWithNineTenthsWhateverTheState) {
  const ModelFiles files = ModelFiles::open(golden_families() / "opt");
  const SkipGates gates(files.config, GetParam(), at::TensorOptions(at::kFloat));
  const at::Tensor states = at::randn({5, static_cast<std::int64_t>(files.config.width)});
  const at::Tensor probability = execute_probability(gates.logits(LayerIndex{1}, states));
  EXPECT_LT((probability - 0.9).abs().max().item<float>(), 1e-6F);
  EXPECT_FALSE(gates.has_gate(LayerIndex{0}));
  EXPECT_FALSE(gates.has_gate(LayerIndex{files.config.depth() - 1}));
}

// What the engine computes with them.
TEST_P(SkipGatesTest, AreTheControllersThatAreWritten) {
  const ModelFiles files = ModelFiles::open(golden_families() / "opt");
  const SkipGates gates(files.config, GetParam(), at::TensorOptions(at::kFloat));
  {
    const c10::NoGradGuard guard;
    for (const auto& [name, parameter] : gates.parameters()) {
      at::Tensor into = parameter;
      into.add_(at::randn(into.sizes()), 0.3);
    }
  }
  const SkipControllers controllers = gates.controllers();
  const at::Tensor states = at::randn({5, static_cast<std::int64_t>(files.config.width)});
  const std::span<const float> values(states.data_ptr<float>(),
                                      static_cast<std::size_t>(states.numel()));
  for (LayerIndex layer{1}; gates.has_gate(layer); ++layer) {
    const at::Tensor probability = execute_probability(gates.logits(layer, states));
    for (std::int64_t row = 0; row < 5; ++row) {
      const auto state =
          values.subspan(static_cast<std::size_t>(row) * files.config.width, files.config.width);
      EXPECT_NEAR(controllers.execute_probability(layer, state), probability[row].item<float>(),
                  1e-5);
    }
  }
}

// The loss of a training step with the relaxed gates, which moves smoothly with their parameters:
// its gradients equal central differences. Gates see detached states, so where they look at states
// only the last one's gradient is that of the whole loss; the others change what gates behind see.
TEST_P(SkipGatesTest, GradientsOfTheRelaxedLossEqualFiniteDifferences) {
  const GoldenFamily golden("opt");
  const ModelFiles files = ModelFiles::open(golden_families() / "opt");
  Parameters parameters(files.source, at::kDouble, at::kCPU);
  const Decoder decoder(files.config, files.tensors, parameters, at::kDouble);
  const SkipGates gates(files.config, GetParam(), at::TensorOptions(at::kDouble));
  const std::vector<TrainingSequence> sequences{
      {.tokens = std::span<const TokenId>(golden.ids), .prompt = golden.prompt}};
  std::vector<NoiseKey> keys;
  for (std::size_t t = golden.prompt; t < golden.ids.size(); ++t) {
    keys.push_back({.sequence = 1, .position = Position{static_cast<std::int32_t>(t)}});
  }
  const at::Tensor teacher =
      at::log_softmax(decoder.head(run_training_pass(decoder, sequences).states).detach(), -1);
  const auto loss = [&] {
    at::Tensor cost = at::zeros({}, at::kDouble);
    const TokenGates decide = [&](LayerIndex layer, const at::Tensor& states) {
      if (!gates.has_gate(layer)) return at::Tensor();
      const at::Tensor logits = gates.logits(layer, states);
      cost = cost + execute_probability(logits).mean();
      return soft_gate(logits, gumbel_noise(3, layer, keys).to(at::kDouble));
    };
    const at::Tensor states = run_training_pass(decoder, sequences, decide).states;
    return summed_divergence(decoder.head(states), teacher) + 2 * cost;
  };
  loss().backward();
  constexpr double step = 1e-6;
  RandomStream random({.seed = 2});
  std::map<std::string, at::Tensor> found;
  for (const auto& [name, parameter] : gates.parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    found[name] = parameter.grad().clone();
    const c10::NoGradGuard guard;
    at::Tensor direction = at::empty(parameter.sizes(), at::kDouble);
    auto* const values = direction.data_ptr<double>();
    for (std::int64_t i = 0; i < direction.numel(); ++i) values[i] = 2 * random.uniform() - 1;
    at::Tensor moved = parameter;
    const bool last = name.starts_with("layers." + std::to_string(files.config.depth() - 2) + ".");
    if (GetParam() == ControllerInput::hidden && !last) continue;
    moved.add_(direction, step);
    const double above = loss().item<double>();
    moved.add_(direction, -2 * step);
    const double below = loss().item<double>();
    moved.add_(direction, step);
    const double measured = (above - below) / (2 * step);
    EXPECT_NEAR((found[name] * direction).sum().item<double>(), measured,
                1e-6 * (1 + std::abs(measured)))
        << name;
  }
}

}  // namespace
}  // namespace fathom
