#include "nn/training_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>
#include <array>
#include <c10/core/GradMode.h>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "engine/golden_logits.h"
#include "model/model_files.h"
#include "nn/index_tensor.h"
#include "nn/torch_model.h"

namespace fathom {
namespace {

/// A model to train, with all weights as leaves.
struct Trainable {
  Trainable(const std::filesystem::path& path, at::ScalarType type) : Trainable(path, type, type) {}
  Trainable(const std::filesystem::path& path, at::ScalarType type, at::ScalarType products)
      : files(ModelFiles::open(path)),
        parameters(files.source, type, at::kCPU),
        decoder(files.config, files.tensors, parameters, products) {
    for (auto& [name, tensor] : parameters.all()) tensor.set_requires_grad(true);
  }
  ModelFiles files;
  Parameters parameters;
  Decoder decoder;
};

// Of three lengths, two of them alike: 25 of 40 tokens are the prompt's, 25 of 40 again, 9 of 30.
std::vector<TrainingSequence> three_sequences(const GoldenFamily& golden, const Route* route) {
  const std::span<const TokenId> ids(golden.ids);
  return {{.tokens = ids, .prompt = golden.prompt, .route = route},
          {.tokens = ids, .prompt = golden.prompt, .route = nullptr},
          {.tokens = ids.subspan(10), .prompt = 9, .route = route}};
}

// The rows that predict a response's tokens, and these.
struct Targets {
  std::vector<std::int64_t> rows, tokens;
  explicit Targets(std::span<const TrainingSequence> sequences) {
    std::int64_t begin = 0;
    for (const TrainingSequence& sequence : sequences) {
      for (std::size_t i = sequence.prompt; i < sequence.tokens.size(); ++i) {
        rows.push_back(begin + static_cast<std::int64_t>(i) - 1);
        tokens.push_back(sequence.tokens[i].value);
      }
      begin += static_cast<std::int64_t>(sequence.tokens.size());
    }
  }
};

at::Tensor loss_of(const Decoder& decoder, std::span<const TrainingSequence> sequences,
                   const at::Tensor& states) {
  const Targets targets(sequences);
  const at::Tensor logits =
      decoder.head(states.index_select(0, index_tensor(targets.rows, at::kCPU)));
  return at::cross_entropy_loss(logits, index_tensor(targets.tokens, at::kCPU));
}

at::Tensor random_like(const at::Tensor& tensor, RandomStream& random) {
  at::Tensor draws = at::empty_like(tensor.detach());
  auto* const values = draws.data_ptr<double>();
  for (std::int64_t i = 0; i < draws.numel(); ++i) values[i] = 2 * random.uniform() - 1;
  return draws;
}

// Holds the gradient of a loss to central differences of it, for each parameter in a random
// direction. The step is small, since ReLU's slope jumps where a pre-activation crosses 0, and
// still leaves the differences good to about 1e-7 in float64.
void expect_gradients(std::map<std::string, at::Tensor>& parameters,
                      const std::function<at::Tensor()>& loss) {
  constexpr double step = 1e-8;
  for (auto& [name, tensor] : parameters) tensor.mutable_grad() = at::Tensor();
  loss().backward();
  const c10::NoGradGuard guard;
  RandomStream random({.seed = 1});
  for (auto& [name, tensor] : parameters) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    const at::Tensor direction = random_like(tensor, random);
    const double expected = (tensor.grad() * direction).sum().item<double>();
    tensor.add_(direction, step);
    const double above = loss().item<double>();
    tensor.add_(direction, -2 * step);
    const double below = loss().item<double>();
    tensor.add_(direction, step);
    const double measured = (above - below) / (2 * step);
    EXPECT_NEAR(expected, measured, 1e-6 * (1 + std::abs(measured))) << name;
  }
}

class TrainingPassTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TrainingPassTest, testing::ValuesIn(golden_family_names()),
                         golden_test_name);

TEST_P(TrainingPassTest, EqualsInferenceAtFullDepthAndOnRoutes) {
  const GoldenFamily golden(GetParam());
  const Trainable model(golden_families() / GetParam(), at::kFloat);
  TorchModel reference(ModelFiles::open(golden_families() / GetParam()), {});
  const std::int32_t depth = reference.config().depth();
  for (const Route& route :
       {Route::full(depth), Route::uniform(2, depth), Route::first(1, depth)}) {
    const auto sequences = three_sequences(golden, &route);
    const TrainingStates result = run_training_pass(model.decoder, sequences);
    const at::Tensor logits = model.decoder.head(result.states).detach();
    // Two sequences on the route, of 40 and 30 tokens, and one at full depth.
    const auto cost = static_cast<std::uint64_t>(route.cost());
    const auto layers = static_cast<std::uint64_t>(depth);
    EXPECT_EQ(result.layers_run, (25 + 9 + 40) * layers + (15 + 21) * cost);
    std::int64_t row = 0;
    for (const TrainingSequence& sequence : sequences) {
      const auto cache = reference.new_cache(64);
      SequenceLogits expected;
      append_steps(reference, *cache, sequence.tokens.first(sequence.prompt), nullptr, expected);
      const RouteSelector selector(sequence.route != nullptr ? *sequence.route
                                                             : Route::full(depth));
      append_steps(reference, *cache, sequence.tokens.subspan(sequence.prompt), &selector,
                   expected);
      for (const std::vector<float>& values : expected) {
        const float* const got = logits.data_ptr<float>() + row * logits.size(1);
        for (std::size_t i = 0; i < values.size(); ++i) {
          ASSERT_NEAR(got[i], values[i], 1e-4) << route.to_string() << ", row " << row;
        }
        ++row;
      }
    }
  }
}

TEST_P(TrainingPassTest, GradientsEqualFiniteDifferences) {
  const GoldenFamily golden(GetParam());
  Trainable model(golden_families() / GetParam(), at::kDouble);
  const Route route = Route::uniform(2, model.files.config.depth());
  const auto sequences = three_sequences(golden, &route);
  expect_gradients(model.parameters.all(), [&] {
    return loss_of(model.decoder, sequences, run_training_pass(model.decoder, sequences).states);
  });
}

// Gates between 0 and 1 that depend on the states, whose gradients then go both ways.
TEST_P(TrainingPassTest, GradientsThroughGatesEqualFiniteDifferences) {
  const GoldenFamily golden(GetParam());
  Trainable model(golden_families() / GetParam(), at::kDouble);
  const auto sequences = three_sequences(golden, nullptr);
  const auto width = static_cast<std::int64_t>(model.files.config.width);
  std::map<std::string, at::Tensor> parameters = model.parameters.all();
  RandomStream random({.seed = 2});
  for (const std::int32_t layer : {1, 2}) {
    parameters["gate " + std::to_string(layer)] =
        random_like(at::zeros({width}, at::kDouble), random).set_requires_grad(true);
  }
  const TokenGates gates = [&](LayerIndex layer, const at::Tensor& states) {
    const auto found = parameters.find("gate " + std::to_string(layer.value));
    if (found == parameters.end()) return at::Tensor();
    EXPECT_EQ(states.size(0), 15 + 15 + 21);
    return at::sigmoid(states.matmul(found->second));
  };
  expect_gradients(parameters, [&] {
    return loss_of(model.decoder, sequences,
                   run_training_pass(model.decoder, sequences, gates).states);
  });
}

// A pass over prompts, then one over the responses behind it, give what one pass over both does.
TEST_P(TrainingPassTest, ResponsesAloneEqualThoseOfTheWholePass) {
  const GoldenFamily golden(GetParam());
  const Trainable model(golden_families() / GetParam(), at::kFloat);
  const Route route = Route::uniform(2, model.files.config.depth());
  const auto sequences = three_sequences(golden, &route);
  const at::Tensor whole = run_training_pass(model.decoder, sequences).states;
  std::vector<TrainingSequence> prompts = sequences;
  for (TrainingSequence& prompt : prompts) {
    prompt.tokens = prompt.tokens.first(prompt.prompt);
    prompt.route = nullptr;
  }
  PassMemory memory;
  run_training_pass(model.decoder, prompts, memory);
  const TrainingStates responses = run_response_pass(model.decoder, sequences, memory);
  EXPECT_EQ(responses.layers_run,
            15U * 2 + 15U * static_cast<std::uint64_t>(route.depth()) + 21U * 2);
  std::vector<std::int64_t> rows;
  std::int64_t begin = 0;
  for (const TrainingSequence& sequence : sequences) {
    for (std::size_t i = sequence.prompt; i < sequence.tokens.size(); ++i) {
      rows.push_back(begin + static_cast<std::int64_t>(i));
    }
    begin += static_cast<std::int64_t>(sequence.tokens.size());
  }
  const at::Tensor expected = whole.index_select(0, index_tensor(rows, at::kCPU));
  ASSERT_EQ(responses.states.sizes(), expected.sizes());
  EXPECT_LT((responses.states - expected).abs().max().item<float>(), 1e-4F);
}

// What a pass of an adapter or of a model gives its weights, by name.
std::map<std::string, at::Tensor> detached_gradients(Trainable& model,
                                                     std::span<const TrainingSequence> sequences,
                                                     const DetachedPassOptions& options) {
  for (auto& [name, tensor] : model.parameters.all()) tensor.mutable_grad() = at::Tensor();
  const DetachedPass pass = run_detached_pass(model.decoder, sequences, options);
  loss_of(model.decoder, sequences, pass.states).backward();
  pass.backward();
  std::map<std::string, at::Tensor> gradients;
  for (const auto& [name, tensor] : model.parameters.all()) gradients[name] = tensor.grad();
  return gradients;
}

// As training in bfloat16 has it, too: weights in float32 and products in bfloat16.
TEST_P(TrainingPassTest, RecomputedActivationsGiveTheSameBits) {
  const GoldenFamily golden(GetParam());
  const Dropout dropout({.embedding = 0.1, .attention = 0.2, .residual = 0.3}, 1, 2);
  for (const at::ScalarType products : {at::kFloat, at::kBFloat16}) {
    Trainable model(golden_families() / GetParam(), at::kFloat, products);
    const std::int32_t depth = model.files.config.depth();
    const Route route = Route::uniform(2, depth);
    const Route kept = Route::first(depth - 1, depth);
    auto sequences = three_sequences(golden, &route);
    sequences[1].kept = &kept;
    for (const Dropout* const each : {static_cast<const Dropout*>(nullptr), &dropout}) {
      const auto a = detached_gradients(model, sequences, {.dropout = each});
      const auto b = detached_gradients(
          model, sequences, {.dropout = each, .activations = ActivationStorage::recomputed});
      for (const auto& [name, gradient] : a) {
        ASSERT_EQ(gradient.defined(), b.at(name).defined()) << name;
        if (!gradient.defined()) continue;
        EXPECT_TRUE(gradient.equal(b.at(name))) << name;
      }
      if (each != nullptr || products != at::kFloat) continue;
      for (auto& [name, tensor] : model.parameters.all()) tensor.mutable_grad() = at::Tensor();
      loss_of(model.decoder, sequences, run_training_pass(model.decoder, sequences).states)
          .backward();
      for (const auto& [name, tensor] : model.parameters.all()) {
        ASSERT_EQ(tensor.grad().defined(), a.at(name).defined()) << name;
        if (!tensor.grad().defined()) continue;
        const double scale = 1 + tensor.grad().abs().max().item<double>();
        EXPECT_LT((tensor.grad() - a.at(name)).abs().max().item<double>(), 1e-5 * scale) << name;
      }
    }
  }
}

// However sequences share calls of attention, states and gradients are the same but for rounding.
TEST_P(TrainingPassTest, PaddedAttentionEqualsThatByLength) {
  const GoldenFamily golden(GetParam());
  Trainable model(golden_families() / GetParam(), at::kDouble);
  const Route route = Route::uniform(2, model.files.config.depth());
  auto sequences = three_sequences(golden, &route);
  PassMemory memory;
  std::vector<TrainingSequence> prompts = sequences;
  for (TrainingSequence& prompt : prompts) prompt.route = nullptr;
  {
    const c10::NoGradGuard guard;
    run_training_pass(model.decoder, prompts, memory);
  }
  for (const PassMemory* const each :
       {static_cast<const PassMemory*>(nullptr), static_cast<const PassMemory*>(&memory)}) {
    const auto run = [&](AttentionCalls calls) {
      return run_detached_pass(model.decoder, sequences, {.prompts = each, .attention = calls});
    };
    const DetachedPass by_length = run(AttentionCalls::by_length);
    const DetachedPass padded = run(AttentionCalls::padded);
    EXPECT_EQ(padded.layers_run, by_length.layers_run);
    EXPECT_LT((padded.states - by_length.states).abs().max().item<double>(), 1e-10);
    std::map<std::string, at::Tensor> gradients;
    for (const DetachedPass* const pass : {&by_length, &padded}) {
      for (auto& [name, tensor] : model.parameters.all()) tensor.mutable_grad() = at::Tensor();
      // Any function of the states that treats none alike.
      (pass->states * pass->states.detach().sin()).sum().backward();
      pass->backward();
      for (const auto& [name, tensor] : model.parameters.all()) {
        if (!tensor.grad().defined()) continue;
        const auto [found, is_new] = gradients.try_emplace(name, tensor.grad());
        if (is_new) continue;
        const double scale = 1 + tensor.grad().abs().max().item<double>();
        EXPECT_LT((found->second - tensor.grad()).abs().max().item<double>(), 1e-10 * scale)
            << name;
      }
    }
    EXPECT_FALSE(gradients.empty());
  }
}

// A sequence that layers are dropped for leaves them out, its prompt too.
TEST_P(TrainingPassTest, DroppedLayersRunNoRow) {
  const GoldenFamily golden(GetParam());
  const Trainable model(golden_families() / GetParam(), at::kFloat);
  const std::int32_t depth = model.files.config.depth();
  const auto sequences = three_sequences(golden, nullptr);
  std::vector<at::Tensor> entering;
  run_training_pass(model.decoder, sequences, [&](LayerIndex, const at::Tensor& states) {
    entering.push_back(states);
    return at::Tensor();
  });
  const Route kept = Route::first(2, depth);
  auto dropped = sequences;
  for (TrainingSequence& sequence : dropped) sequence.kept = &kept;
  const TrainingStates result = run_training_pass(model.decoder, dropped);
  EXPECT_EQ(result.layers_run, (40U + 40U + 30U) * 2);
  std::vector<std::int64_t> routed;
  for (const std::int64_t begin : {25, 65, 89}) {
    const std::int64_t end = begin == 25 ? 40 : begin == 65 ? 80 : 110;
    for (std::int64_t row = begin; row < end; ++row) routed.push_back(row);
  }
  EXPECT_TRUE(result.states.index_select(0, index_tensor(routed, at::kCPU)).equal(entering[2]));
}

TEST(Dropout, DependsOnItsKeyAndKeepsTheMean) {
  const at::Tensor ones = at::ones({200, 100});
  const std::vector<Dropout::Part> parts{{.row = 5, .count = 200}};
  const Dropout dropout({.residual = 0.3}, 1, 2);
  constexpr auto place = Dropout::Place::ffn_output;
  const at::Tensor x = dropout(ones, place, LayerIndex{1}, parts);
  EXPECT_TRUE(x.equal(dropout(ones, place, LayerIndex{1}, parts)));
  EXPECT_FALSE(x.equal(dropout(ones, place, LayerIndex{2}, parts)));
  EXPECT_FALSE(x.equal(dropout(ones, place, LayerIndex{1}, {{{.row = 6, .count = 200}}})));
  EXPECT_FALSE(x.equal(dropout(ones, Dropout::Place::attention_output, LayerIndex{1}, parts)));
  EXPECT_FALSE(x.equal(Dropout({.residual = 0.3}, 1, 3)(ones, place, LayerIndex{1}, parts)));
  EXPECT_FALSE(x.equal(Dropout({.residual = 0.3}, 2, 2)(ones, place, LayerIndex{1}, parts)));
  // Of 20000 draws, within five standard deviations.
  EXPECT_NEAR(x.eq(0).to(at::kFloat).mean().item<double>(), 0.3, 0.017);
  EXPECT_NEAR(x.mean().item<double>(), 1, 0.024);
  EXPECT_TRUE(ones.equal(dropout(ones, Dropout::Place::attention, LayerIndex{1}, parts)));
}

TEST(Dropout, IsThatOfARowInAnyCompany) {
  const Dropout dropout({.residual = 0.3}, 1, 2);
  constexpr auto place = Dropout::Place::ffn_output;
  const std::vector<Dropout::Part> together{
      {.row = 5, .count = 40}, {.row = 6, .count = 0}, {.row = 7, .count = 60}};
  const std::vector<Dropout::Part> alone{{.row = 7, .count = 60}};
  const at::Tensor x = dropout(at::ones({100, 8}), place, LayerIndex{1}, together);
  EXPECT_TRUE(x.narrow(0, 40, 60).equal(dropout(at::ones({60, 8}), place, LayerIndex{1}, alone)));
  EXPECT_FALSE(x.narrow(0, 0, 40).equal(x.narrow(0, 60, 40)));
  EXPECT_THROW((void)dropout(at::ones({61, 8}), place, LayerIndex{1}, alone), std::logic_error);
}

// Attention with dropout is written out; without any weight dropped it is the fused one.
TEST_P(TrainingPassTest, AttentionWithDropoutIsAttention) {
  const GoldenFamily golden(GetParam());
  const Trainable model(golden_families() / GetParam(), at::kFloat);
  const auto sequences = three_sequences(golden, nullptr);
  const Dropout dropout({.attention = 1e-9}, 1, 2);
  const at::Tensor with = run_detached_pass(model.decoder, sequences, {.dropout = &dropout}).states;
  const at::Tensor without = run_training_pass(model.decoder, sequences).states;
  EXPECT_LT((with - without).abs().max().item<float>(), 1e-4F);
}

TEST(DropoutRates, AreThoseOfTheFamily) {
  const DropoutRates opt =
      dropout_rates(ModelFiles::open(golden_families() / "opt" / "model.gguf"));
  EXPECT_EQ(opt.residual, 0.1);
  EXPECT_EQ(opt.attention, 0);
  const DropoutRates gpt2 =
      dropout_rates(ModelFiles::open(golden_families() / "gpt2" / "model.gguf"));
  EXPECT_EQ(gpt2.embedding, 0.1);
  EXPECT_EQ(gpt2.attention, 0.1);
  EXPECT_EQ(gpt2.residual, 0.1);
  EXPECT_FALSE(dropout_rates(ModelFiles::open(golden_families() / "smollm3")).any());
}

std::vector<LayerIndex> all_layers(const ModelConfig& config) {
  std::vector<LayerIndex> layers;
  for (LayerIndex layer{0}; layer.value < config.depth(); ++layer) layers.push_back(layer);
  return layers;
}

// Factors of an adapter for a model whose own weights are frozen.
struct Adapted {
  Adapted(const std::filesystem::path& path, at::ScalarType type)
      : model(path, type),
        lora(model.files.config, all_layers(model.files.config), 3, 6, 1, at::TensorOptions(type)) {
    for (auto& [name, tensor] : model.parameters.all()) tensor.set_requires_grad(false);
    for (auto& [name, tensor] : lora.by_name(model.files.config)) {
      factors[name] = tensor.set_requires_grad(true);
    }
  }
  // B of noughts hides mistakes in A.
  void draw() {
    const c10::NoGradGuard guard;
    RandomStream random({.seed = 3});
    for (auto& [name, tensor] : factors) tensor.copy_(random_like(tensor, random)).mul_(0.1);
  }
  Trainable model;
  LoraParameters lora;
  std::map<std::string, at::Tensor> factors;
};

TEST_P(TrainingPassTest, AnAdapterBeginsWithTheModelAsItIs) {
  const GoldenFamily golden(GetParam());
  const Adapted adapted(golden_families() / GetParam(), at::kFloat);
  const auto sequences = three_sequences(golden, nullptr);
  const at::Tensor before = run_training_pass(adapted.model.decoder, sequences).states;
  const Decoder decoder = adapted.model.decoder.adapted(adapted.lora);
  const at::Tensor after = run_training_pass(decoder, sequences).states;
  EXPECT_TRUE(before.equal(after));
}

TEST_P(TrainingPassTest, GradientsOfAdaptersEqualFiniteDifferences) {
  const GoldenFamily golden(GetParam());
  Adapted adapted(golden_families() / GetParam(), at::kDouble);
  adapted.draw();
  const Decoder decoder = adapted.model.decoder.adapted(adapted.lora);
  const Route route =
      Route::of(std::vector{LayerIndex{0}, LayerIndex{2}}, adapted.model.files.config.depth());
  const auto sequences = three_sequences(golden, &route);
  // On all rows.
  expect_gradients(adapted.factors, [&] {
    return loss_of(decoder, sequences, run_training_pass(decoder, sequences).states);
  });
  // On the responses alone; the second one runs all layers.
  PassMemory memory;
  std::vector<TrainingSequence> whole = sequences;
  for (TrainingSequence& sequence : whole) sequence.route = nullptr;
  run_training_pass(adapted.model.decoder, whole, memory);
  std::vector<std::int64_t> labels;
  for (const TrainingSequence& sequence : sequences) {
    for (const TokenId token : sequence.tokens.subspan(sequence.prompt)) {
      labels.push_back(token.value);
    }
  }
  expect_gradients(adapted.factors, [&] {
    const at::Tensor states = run_response_pass(decoder, sequences, memory).states;
    return at::cross_entropy_loss(decoder.head(states), index_tensor(labels, at::kCPU));
  });
  for (const auto& [name, tensor] : adapted.model.parameters.all()) {
    EXPECT_FALSE(tensor.grad().defined()) << name;
  }
}

// A gate that is shut for all of a response does what the others' keys and values allow: the
// response's rows of a layer that nobody opens keep their states, to the bit.
TEST_P(TrainingPassTest, GatesOfNoughtAndOneAreExact) {
  const GoldenFamily golden(GetParam());
  const Trainable model(golden_families() / GetParam(), at::kFloat);
  const std::int32_t depth = model.files.config.depth();
  const auto sequences = three_sequences(golden, nullptr);
  const Route route = Route::first(2, depth);
  std::vector<at::Tensor> entering;
  const TokenGates gates = [&](LayerIndex layer, const at::Tensor& states) {
    entering.push_back(states);
    return route.runs(layer) ? at::zeros({states.size(0)}) + 1 : at::zeros({states.size(0)});
  };
  const at::Tensor gated = run_training_pass(model.decoder, sequences, gates).states;
  ASSERT_EQ(entering.size(), static_cast<std::size_t>(depth));
  EXPECT_TRUE(entering[2].equal(entering[3]));
  EXPECT_FALSE(entering[1].equal(entering[2]));
  // Nobody sees the keys and values of rows that skip a layer but those that run it, so early exit
  // by gates is early exit by a route.
  std::vector<TrainingSequence> routed = sequences;
  for (TrainingSequence& sequence : routed) sequence.route = &route;
  const at::Tensor expected = run_training_pass(model.decoder, routed).states;
  EXPECT_LT((gated - expected).abs().max().item<float>(), 1e-5F);
}

}  // namespace
}  // namespace fathom
