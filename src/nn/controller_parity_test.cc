// Skip controllers in the engine and on libtorch: the same probabilities and decisions.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <c10/core/GradMode.h>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "engine/cpu_model.h"
#include "engine/golden_logits.h"
#include "model/default_model.h"
#include "model/model_files.h"
#include "nn/skip_gates.h"
#include "nn/training_pass.h"

namespace fathom {
namespace {

constexpr double tolerance = 1e-4;
constexpr std::uint64_t seed = 9;

// Of each layer and row that a selector was asked about.
struct Decisions {
  std::vector<std::vector<double>> probabilities;
  std::vector<std::vector<bool>> runs;
};

/// Does as a ControllerSelector does and notes it.
class NotingSelector final : public Selector {
 public:
  NotingSelector(const SkipControllers& controllers, std::uint64_t sequence)
      : controllers_(controllers),
        selector_(std::make_shared<SkipControllers>(controllers), GateRule{}, seed, sequence) {
    decisions.probabilities.resize(static_cast<std::size_t>(controllers.depth()));
    decisions.runs.resize(static_cast<std::size_t>(controllers.depth()));
  }
  [[nodiscard]] const Route* fixed_route() const override { return selector_.fixed_route(); }
  [[nodiscard]] bool needs_margins(LayerIndex layer) const override {
    return selector_.needs_margins(layer);
  }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override {
    const std::size_t before = running.size();
    selector_.select(layer, rows, running);
    std::vector<bool> runs(rows.count);
    for (std::size_t i = before; i < running.size(); ++i) runs[running[i]] = true;
    decisions.runs[layer.index()] = runs;
    if (!controllers_.has_gate(layer)) return;
    for (std::size_t row = 0; row < rows.count; ++row) {
      decisions.probabilities[layer.index()].push_back(controllers_.execute_probability(
          layer, rows.hidden.subspan(row * rows.width, rows.width)));
    }
  }

  mutable Decisions decisions;

 private:
  const SkipControllers& controllers_;
  ControllerSelector selector_;
};

std::vector<TokenId> drawn_tokens(std::uint64_t key, std::size_t count, const ModelConfig& config) {
  RandomStream random({.seed = key});
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i) {
    tokens.emplace_back(static_cast<std::int32_t>(random.below(config.vocabulary)));
  }
  return tokens;
}

// Weights with which logits are some units apart, whatever the size of the layer's states.
void draw_weights(const SkipGates& gates, const Decoder& decoder,
                  std::span<const TrainingSequence> sequences) {
  RandomStream random({.seed = 4});
  const TokenGates look = [&](LayerIndex layer, const at::Tensor& states) {
    if (!gates.has_gate(layer)) return at::Tensor();
    at::Tensor weight =
        gates.parameters().at("layers." + std::to_string(layer.value) + ".gate.weight");
    const double norm = states.norm(2, 1).mean().item<double>();
    auto* const values = weight.data_ptr<float>();
    for (std::int64_t i = 0; i < weight.numel(); ++i) {
      values[i] = static_cast<float>(4 * (random.uniform() - 0.5) / norm * std::sqrt(3.0));
    }
    at::Tensor bias = gates.parameters().at("layers." + std::to_string(layer.value) + ".gate.bias");
    bias.fill_(0.0);
    return at::Tensor();
  };
  run_training_pass(decoder, sequences, look);
}

struct Drawn {
  std::size_t sequences, prompt, response;
};

void expect_parity(const std::filesystem::path& path, const Drawn& drawn) {
  const c10::NoGradGuard guard;
  ThreadTeam team(2);
  const ModelFiles files = ModelFiles::open(path);
  const ModelConfig& config = files.config;
  CpuModel engine(ModelFiles::open(path), Precision::exact, kernels(), team);
  Parameters parameters(files.source, at::kFloat, at::kCPU);
  const Decoder decoder(config, files.tensors, parameters, at::kFloat);
  const SkipGates gates(config, ControllerInput::hidden, at::TensorOptions(at::kFloat));
  std::size_t tokens = 0, opened = 0, decided = 0, close = 0;
  double furthest = 0;
  for (std::size_t s = 0; s < drawn.sequences; ++s) {
    const std::vector<TokenId> all = drawn_tokens(s, drawn.prompt + drawn.response, config);
    const TrainingSequence sequence{.tokens = all, .prompt = drawn.prompt};
    if (s == 0) draw_weights(gates, decoder, std::span(&sequence, 1));
    const SkipControllers controllers = gates.controllers();
    const auto cache = engine.new_cache(all.size());
    SequenceLogits logits;
    append_steps(engine, *cache, std::span(all).first(drawn.prompt), nullptr, logits);
    const NotingSelector selector(controllers, s);
    append_steps(engine, *cache, std::span(all).subspan(drawn.prompt), &selector, logits);
    // Decisions are the engine's, so that one that differs does not change all that follow.
    const TokenGates decide = [&](LayerIndex layer, const at::Tensor& states) {
      if (!gates.has_gate(layer)) return at::Tensor();
      const at::Tensor probability = execute_probability(gates.logits(layer, states));
      at::Tensor gate = at::empty({states.size(0)}, at::kFloat);
      for (std::size_t row = 0; row < drawn.response; ++row) {
        const double found = selector.decisions.probabilities[layer.index()][row];
        const bool runs = selector.decisions.runs[layer.index()][row];
        const double expected = probability[static_cast<std::int64_t>(row)].item<float>();
        furthest = std::max(furthest, std::abs(found - expected));
        const Position position{static_cast<std::int32_t>(drawn.prompt + row)};
        const double draw = gate_draw(seed, s, position, layer);
        if (std::abs(draw - expected) < tolerance) {
          ++close;
        } else {
          EXPECT_EQ(draw < expected, runs) << "layer " << layer.number() << ", row " << row;
        }
        gate.data_ptr<float>()[row] = runs ? 1.0F : 0.0F;
        opened += runs ? 1U : 0U;
        ++decided;
      }
      return gate;
    };
    run_training_pass(decoder, std::span(&sequence, 1), decide);
    tokens += drawn.response;
  }
  EXPECT_LT(furthest, tolerance);
  EXPECT_GE(tokens, 500U);
  // Not all alike, and hardly any that could have gone either way.
  EXPECT_GT(opened, decided / 10);
  EXPECT_LT(opened, decided * 9 / 10);
  EXPECT_LT(close, decided / 100);
  testing::Test::RecordProperty("furthest", std::to_string(furthest));
  std::printf("%zu tokens, %zu decisions, %zu to run; probabilities at most %.2e apart\n", tokens,
              decided, opened, furthest);
}

class ControllerParityTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, ControllerParityTest, testing::ValuesIn(golden_family_names()),
                         golden_test_name);

TEST_P(ControllerParityTest, EngineAndTorchDecideAlike) {
  expect_parity(golden_families() / GetParam(), {.sequences = 20, .prompt = 9, .response = 25});
}

TEST(ControllerParity, DefaultModel) {
  const std::filesystem::path path = default_model_path();
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "make model fetches it";
  expect_parity(path, {.sequences = 1, .prompt = 20, .response = 500});
}

}  // namespace
}  // namespace fathom
