// Tokens of one sequence that run different layers: what skipped layers owe, and early exit by
// confidence.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "depth/selector.h"
#include "depth/skip_controllers.h"
#include "engine/compare_logits.h"
#include "engine/cpu_model.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

fs::path golden() { return fs::path(FATHOM_SOURCE_DIR) / "golden"; }

/// Each token runs each layer with a probability of its own, by a draw.
class DrawnGates final : public Selector {
 public:
  explicit DrawnGates(std::vector<double> probabilities)
      : probabilities_(std::move(probabilities)) {}
  [[nodiscard]] const Route* fixed_route() const override { return nullptr; }
  [[nodiscard]] bool needs_margins(LayerIndex /*layer*/) const override { return false; }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override {
    for (std::size_t row = 0; row < rows.count; ++row) {
      RandomStream random({.seed = 7,
                           .position = static_cast<std::uint32_t>(rows.first.index() + row),
                           .layer = static_cast<std::uint32_t>(layer.value)});
      if (random.uniform() < probabilities_[layer.index()]) running.push_back(row);
    }
  }

 private:
  std::vector<double> probabilities_;
};

/// Controllers on hidden states that open about half of the gates, whatever the states' size. A
/// model of two layers has none: there each token runs both.
std::unique_ptr<const Selector> drawn_controllers(const ModelConfig& config) {
  if (config.depth() < 3) return std::make_unique<ConfidenceSelector>(1);
  RandomStream random({.seed = 11});
  std::vector<GateWeights> gates;
  for (std::int32_t layer = 1; layer < config.depth() - 1; ++layer) {
    GateWeights gate{.weight = std::vector<float>(2 * config.width)};
    for (float& weight : gate.weight) weight = static_cast<float>(random.uniform() - 0.5);
    gates.push_back(std::move(gate));
  }
  return std::make_unique<ControllerSelector>(
      std::make_shared<SkipControllers>(config.depth(), config.width, ControllerInput::hidden,
                                        std::move(gates)),
      GateRule{}, 3, 5);
}

/// Runs what another selector says, until it fails at a layer.
class FailingAt final : public Selector {
 public:
  FailingAt(const Selector& other, LayerIndex layer) : other_(other), layer_(layer) {}
  [[nodiscard]] const Route* fixed_route() const override { return other_.fixed_route(); }
  [[nodiscard]] bool needs_margins(LayerIndex layer) const override {
    return other_.needs_margins(layer);
  }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override {
    if (layer == layer_) throw std::runtime_error("a selector that fails");
    other_.select(layer, rows, running);
  }

 private:
  const Selector& other_;
  LayerIndex layer_;
};

/// A sequence and the logits of its tokens so far.
class Sequence {
 public:
  explicit Sequence(CpuModel& model)
      : model_(&model), cache_(model.new_cache(model.config().context)) {}

  void append(std::span<const TokenId> tokens, const Selector* selector = nullptr) {
    const SequenceStep step = this->step(tokens, selector);
    ForwardOutput output;
    model_->forward(std::span(&step, 1), output, nullptr);
    take(output, 0, tokens.size());
    layers_.push_back(output.layers_run[0]);
  }
  // One token at a time.
  void routed(std::span<const TokenId> tokens, const Selector& selector) {
    for (std::size_t t = 0; t < tokens.size(); ++t) append(tokens.subspan(t, 1), &selector);
  }
  [[nodiscard]] SequenceStep step(std::span<const TokenId> tokens, const Selector* selector) {
    return {.cache = cache_.get(),
            .tokens = tokens,
            .role = selector == nullptr ? RowRole::prompt : RowRole::routed,
            .selector = selector,
            .logits = LogitRows::all};
  }
  void take(const ForwardOutput& output, std::size_t first, std::size_t count) {
    for (std::size_t r = first; r < first + count; ++r) {
      const auto row = output.logit_row(r).values;
      logits_.emplace_back(row.begin(), row.end());
    }
  }
  [[nodiscard]] Sequence fork() const {
    Sequence copy(*model_);
    copy.cache_ = cache_->fork();
    copy.logits_ = logits_;
    return copy;
  }
  void truncate(std::size_t length) {
    cache_->truncate(length);
    logits_.resize(length);
  }
  [[nodiscard]] const SequenceLogits& logits() const { return logits_; }
  [[nodiscard]] const std::vector<std::uint64_t>& layers() const { return layers_; }
  [[nodiscard]] KvCache& cache() { return *cache_; }

 private:
  CpuModel* model_;
  std::unique_ptr<KvCache> cache_;
  SequenceLogits logits_;
  std::vector<std::uint64_t> layers_;  // of each step
};

std::vector<TokenId> token_ids(const nlohmann::json& ids) {
  std::vector<TokenId> tokens;
  for (const auto& id : ids) tokens.emplace_back(id.get<std::int32_t>());
  return tokens;
}

std::vector<TokenId> drawn_tokens(std::uint64_t seed, std::size_t count,
                                  const ModelConfig& config) {
  RandomStream random({.seed = seed});
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i) {
    tokens.emplace_back(static_cast<std::int32_t>(random.below(config.vocabulary)));
  }
  return tokens;
}

nlohmann::json confidence_goldens() {
  std::ifstream file(golden() / "confidence.json");
  return nlohmann::json::parse(file)["models"];
}

// As families_test.cc: transformers' float32 logits, to 5 decimals.
constexpr double float32_tolerance = 1e-4;

TEST(Confidence, ExactExitsAndLogitsEqualTransformersInEveryFamily) {
  ThreadTeam team(2);
  const nlohmann::json models = confidence_goldens();
  ASSERT_GE(models.size(), 16U);
  for (const auto& expected : models) {
    const auto name = expected["name"].get<std::string>();
    const std::vector<TokenId> ids = token_ids(expected["ids"]);
    const auto prompt = expected["prompt"].get<std::size_t>();
    const auto sample = expected["vocabulary_sample"].get<std::vector<std::size_t>>();
    const ConfidenceSelector selector(expected["threshold"].get<double>());
    for (const Kernels* const kernels : available_kernels()) {
      CpuModel model(ModelFiles::open(golden() / "families" / name), Precision::exact, *kernels,
                     team);
      for (const std::size_t most_owed : {1U, 5U, 64U}) {
        model.set_most_owed(most_owed);
        Sequence sequence(model);
        sequence.append(std::span(ids).first(prompt));
        sequence.routed(std::span(ids).subspan(prompt), selector);
        for (std::size_t t = prompt; t < ids.size(); ++t) {
          ASSERT_EQ(sequence.layers()[t - prompt + 1],
                    expected["layers"][t - prompt].get<std::uint64_t>())
              << name << ", position " << t << ", " << kernels->name;
          for (std::size_t i = 0; i < sample.size(); ++i) {
            ASSERT_NEAR(sequence.logits()[t][sample[i]],
                        expected["logits"][t - prompt][i].get<double>(), float32_tolerance)
                << name << ", position " << t << ", " << kernels->name;
          }
        }
      }
    }
  }
}

/// One of all models, in a precision, with kernels.
struct Case {
  std::string model;  // in golden/
  Precision precision;
  const Kernels* kernels;
};

std::string case_name(const Case& c) {
  std::string name =
      fmt::format("{}_{}_{}", fs::path(c.model).stem().string(),
                  c.precision == Precision::exact ? "exact" : "fast", c.kernels->name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
void PrintTo(const Case& c, std::ostream* out) { *out << case_name(c); }  // NOLINT

// Two models with all kernels, the others with the best: what is owed does not depend on them.
std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const std::string& model, const Kernels& with) {
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      all.push_back({model, precision, &with});
    }
  };
  for (const char* const model : {"tiny/rope-linear", "tiny_gguf/q4_1.gguf"}) {
    for (const Kernels* const each : available_kernels()) add(model, *each);
  }
  for (const char* const model : {"tiny_gguf/q6_k.gguf", "tiny_gguf/f16.gguf"}) {
    add(model, kernels());
  }
  for (const auto& each : confidence_goldens()) {
    add("families/" + each["name"].get<std::string>(), kernels());
  }
  return all;
}

class OwedTest : public testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] static CpuModel open(ThreadTeam& team) {
    return CpuModel(ModelFiles::open(golden() / GetParam().model), GetParam().precision,
                    *GetParam().kernels, team);
  }
  ThreadTeam team_{2};
  CpuModel model_ = open(team_);
  std::int32_t depth_ = model_.config().depth();
  // Every layer is skipped by some and run by others; the last one seldom runs, so that much waits.
  DrawnGates gates_{depth_ == 2 ? std::vector{0.7, 0.1} : std::vector{0.8, 0.5, 0.4, 0.1}};
  // Tokens leave at all layers in most of the models.
  ConfidenceSelector confidence_{0.25};
  std::unique_ptr<const Selector> controllers_ = drawn_controllers(model_.config());
  std::size_t prompt_ = 9;
  std::vector<TokenId> all_ =
      drawn_tokens(1, std::min<std::size_t>(model_.config().context, 128), model_.config());

  [[nodiscard]] std::span<const TokenId> prompt() const { return std::span(all_).first(prompt_); }
  [[nodiscard]] std::span<const TokenId> response() const {
    return std::span(all_).subspan(prompt_);
  }
  Sequence run(CpuModel& model, const Selector& selector) const {
    Sequence sequence(model);
    sequence.append(prompt());
    sequence.routed(response(), selector);
    return sequence;
  }
};

INSTANTIATE_TEST_SUITE_P(All, OwedTest, testing::ValuesIn(cases()),
                         [](const auto& instance) { return case_name(instance.param); });

TEST_P(OwedTest, WhenItIsPaidChangesNoBit) {
  for (const Selector* const selector :
       {static_cast<const Selector*>(&gates_), static_cast<const Selector*>(&confidence_),
        controllers_.get()}) {
    model_.set_most_owed(1);  // at once
    const Sequence eager = run(model_, *selector);
    for (const std::size_t most :
         {std::size_t{3}, std::size_t{64}, std::numeric_limits<std::size_t>::max()}) {
      model_.set_most_owed(most);
      const Sequence deferred = run(model_, *selector);
      expect_same_bits(eager.logits(), deferred.logits(), fmt::format("{} at most", most));
      EXPECT_EQ(eager.layers(), deferred.layers());
    }
    // The response in steps of several rows, in which rows owe to rows behind them.
    model_.set_most_owed(64);
    for (const std::size_t rows : {std::size_t{5}, response().size()}) {
      Sequence forced(model_);
      forced.append(prompt());
      for (std::size_t begin = 0; begin < response().size(); begin += rows) {
        forced.append(response().subspan(begin, std::min(rows, response().size() - begin)),
                      selector);
      }
      expect_same_bits(eager.logits(), forced.logits(), fmt::format("steps of {} rows", rows));
    }
    ThreadTeam one(1);
    CpuModel alone = open(one);
    expect_same_bits(eager.logits(), run(alone, *selector).logits(), "one thread");
  }
}

// Otherwise the tests with them would show nothing. The first layer and the last have no gates.
TEST_P(OwedTest, TheControllersSkipAndRun) {
  std::uint64_t layers = 0;
  const Sequence sequence = run(model_, *controllers_);
  for (std::size_t t = 1; t < sequence.layers().size(); ++t) layers += sequence.layers()[t];
  const auto ungated = static_cast<std::uint64_t>(std::min(depth_, 2));
  const std::uint64_t gated = response().size() * (static_cast<std::uint64_t>(depth_) - ungated);
  const std::uint64_t opened = layers - ungated * response().size();
  if (gated == 0) {
    EXPECT_EQ(opened, 0U);
    return;
  }
  EXPECT_LT(opened, gated * 9 / 10);
  EXPECT_GT(opened, gated / 10);
}

TEST_P(OwedTest, CompanyChangesNoBit) {
  const RouteSelector full(Route::full(depth_));
  const RouteSelector first(Route::first(1, depth_));
  const ConfidenceSelector other_threshold(0.6);
  const std::array<const Selector*, 7> selectors{
      &gates_, &confidence_, &full, &first, controllers_.get(), &other_threshold, &gates_};
  std::vector<std::vector<TokenId>> tokens;
  std::vector<Sequence> together;
  for (std::size_t s = 0; s < selectors.size(); ++s) {
    tokens.push_back(drawn_tokens(20 + s, all_.size(), model_.config()));
    together.emplace_back(model_);
  }
  // They begin one after the other, so that prompts and responses share passes.
  ForwardOutput output;
  std::vector<std::size_t> done(selectors.size(), 0);
  for (std::size_t round = 0;; ++round) {
    std::vector<SequenceStep> steps;
    std::vector<std::size_t> active;
    for (std::size_t s = 0; s < selectors.size() && s <= round; ++s) {
      if (done[s] == tokens[s].size()) continue;
      const std::size_t count = done[s] == 0 ? prompt_ : 1;
      steps.push_back(together[s].step(std::span(tokens[s]).subspan(done[s], count),
                                       done[s] == 0 ? nullptr : selectors.at(s)));
      active.push_back(s);
      done[s] += count;
    }
    if (steps.empty()) break;
    model_.forward(steps, output, nullptr);
    std::size_t row = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      together[active[i]].take(output, row, steps[i].tokens.size());
      row += steps[i].tokens.size();
    }
  }
  for (std::size_t s = 0; s < selectors.size(); ++s) {
    Sequence alone(model_);
    alone.append(std::span(tokens[s]).first(prompt_));
    alone.routed(std::span(tokens[s]).subspan(prompt_), *selectors.at(s));
    expect_same_bits(alone.logits(), together[s].logits(), fmt::format("sequence {}", s));
  }
}

TEST_P(OwedTest, ForksAndTruncationKeepWhatIsOwed) {
  const Sequence reference = run(model_, gates_);
  const std::size_t half = response().size() / 2;
  Sequence original(model_);
  original.append(prompt());
  original.routed(response().first(half), gates_);
  Sequence forked = original.fork();
  // The original goes on otherwise and pays; the fork's debts are its own.
  const RouteSelector full(Route::full(depth_));
  const std::vector<TokenId> others = drawn_tokens(5, response().size() - half, model_.config());
  original.routed(others, full);
  forked.routed(response().subspan(half), gates_);
  expect_same_bits(reference.logits(), forked.logits(), "fork");
  // Back to where some positions owe, after all was paid and more was added.
  original.truncate(prompt_ + half / 2);
  original.routed(response().subspan(half / 2), gates_);
  expect_same_bits(reference.logits(), original.logits(), "truncated after it was paid");
  // Back to the same place while it owes.
  forked.truncate(prompt_ + half / 2);
  forked.routed(response().subspan(half / 2), gates_);
  expect_same_bits(reference.logits(), forked.logits(), "truncated while it owes");
}

TEST_P(OwedTest, AFailedPassLeavesDebtsAsTheyWere) {
  const Sequence reference = run(model_, gates_);
  Sequence sequence(model_);
  sequence.append(prompt());
  for (std::size_t t = 0; t < response().size(); ++t) {
    const FailingAt failing(gates_, LayerIndex{static_cast<std::int32_t>(t) % depth_});
    const std::size_t length = sequence.cache().length();
    EXPECT_THROW(sequence.append(response().subspan(t, 1), &failing), std::runtime_error);
    EXPECT_EQ(sequence.cache().length(), length);
    sequence.append(response().subspan(t, 1), &gates_);
  }
  expect_same_bits(reference.logits(), sequence.logits(), "after failures");
}

// A prompt's rows, or those of a route, run layers that are owed.
TEST_P(OwedTest, RowsThatAreNotAskedPayToo) {
  const std::size_t half = response().size() / 2;
  const RouteSelector full(Route::full(depth_));
  SequenceLogits reference;
  for (const std::size_t most : {1U, 64U}) {
    model_.set_most_owed(most);
    Sequence by_route(model_);
    by_route.append(prompt());
    by_route.routed(response().first(half), gates_);
    Sequence by_prompt = by_route.fork();
    by_route.routed(response().subspan(half), full);
    by_prompt.append(response().subspan(half));
    expect_same_bits(by_route.logits(), by_prompt.logits(), "prompt and route");
    if (!reference.empty()) expect_same_bits(reference, by_route.logits(), "eager and deferred");
    reference = by_route.logits();
  }
}

class CacheDebtTest : public testing::Test {
 protected:
  ThreadTeam team_{1};
  CpuModel model_{ModelFiles::open(golden() / "tiny" / "rope-linear"), Precision::exact,
                  *available_kernels().front(), team_};
  std::vector<TokenId> tokens_ = drawn_tokens(2, 100, model_.config());
  std::size_t state_bytes_ = model_.config().width * sizeof(float);
  DrawnGates first_only_{{1, 0, 0, 0}};
  DrawnGates third_too_{{1, 0, 1, 0}};
  RouteSelector first_route_{Route::first(1, 4)};
};

TEST_F(CacheDebtTest, LayersThatOweAreValidButDidNotRun) {
  Sequence sequence(model_);
  sequence.append(std::span(tokens_).first(10));
  EXPECT_EQ(sequence.cache().full_depth_length(), 10U);
  sequence.routed(std::span(tokens_).subspan(10, 5), third_too_);
  for (std::int32_t layer = 0; layer < 4; ++layer) {
    EXPECT_EQ(sequence.cache().valid_length(LayerIndex{layer}), 15U);
  }
  EXPECT_EQ(sequence.cache().full_depth_length(), 10U);
  // All layers run again, but not of these five.
  const RouteSelector full(Route::full(4));
  sequence.routed(std::span(tokens_).subspan(15, 1), full);
  EXPECT_EQ(sequence.cache().full_depth_length(), 10U);
  sequence.truncate(8);
  EXPECT_EQ(sequence.cache().full_depth_length(), 8U);
}

TEST_F(CacheDebtTest, ARunOfLayersKeepsOneStateUntilAllArePaid) {
  Sequence sequence(model_);
  sequence.append(std::span(tokens_).first(10));
  const std::size_t before = sequence.cache().bytes();
  sequence.routed(std::span(tokens_).subspan(10, 7), first_only_);
  EXPECT_EQ(sequence.cache().bytes(), before + 7 * state_bytes_);
  EXPECT_EQ(sequence.fork().cache().bytes(), before + 7 * state_bytes_);
  // Two runs of layers: two states. The third layer is paid; the second and fourth still need them.
  sequence.routed(std::span(tokens_).subspan(17, 1), third_too_);
  EXPECT_EQ(sequence.cache().bytes(), before + 9 * state_bytes_);
  Sequence cut = sequence.fork();
  cut.truncate(14);
  EXPECT_EQ(cut.cache().bytes(), before + 4 * state_bytes_);
  sequence.append(std::span(tokens_).subspan(18, 1));
  EXPECT_EQ(sequence.cache().bytes(), before);
}

TEST_F(CacheDebtTest, SoManyPositionsOweAtMost) {
  Sequence sequence(model_);
  sequence.append(std::span(tokens_).first(10));
  std::size_t most = 0;
  for (std::size_t t = 10; t < 90; ++t) {
    const std::size_t valid = sequence.cache().valid_length(LayerIndex{0});
    sequence.append(std::span(tokens_).subspan(t, 1), &first_only_);
    EXPECT_EQ(sequence.cache().valid_length(LayerIndex{0}), valid + 1);
    // Blocks of 64 positions: another one in each layer from position 64 on, where it is written.
    const std::size_t states = sequence.cache().bytes() % (64 * state_bytes_) / state_bytes_;
    most = std::max(most, states);
  }
  EXPECT_EQ(most, 63U);
}

TEST_F(CacheDebtTest, AFixedRouteOwesNothing) {
  Sequence sequence(model_);
  sequence.append(std::span(tokens_).first(10));
  const std::size_t before = sequence.cache().bytes();
  sequence.routed(std::span(tokens_).subspan(10, 7), first_route_);
  EXPECT_EQ(sequence.cache().bytes(), before);
  EXPECT_EQ(sequence.cache().valid_length(LayerIndex{1}), 10U);
  // What a route skipped is not there for gates either.
  EXPECT_THROW(sequence.routed(std::span(tokens_).subspan(17, 1), third_too_), std::logic_error);
  EXPECT_EQ(sequence.cache().length(), 17U);
  sequence.routed(std::span(tokens_).subspan(17, 1), first_only_);
  EXPECT_EQ(sequence.cache().bytes(), before);
}

TEST_F(CacheDebtTest, AtThresholdOneAllIsAsAtFullDepth) {
  const RouteSelector full(Route::full(4));
  const ConfidenceSelector never(1);
  Sequence a(model_);
  Sequence b(model_);
  for (Sequence* const each : {&a, &b}) each->append(std::span(tokens_).first(10));
  a.routed(std::span(tokens_).subspan(10), full);
  b.routed(std::span(tokens_).subspan(10), never);
  expect_same_bits(a.logits(), b.logits(), "full and confidence:1");
  EXPECT_EQ(a.layers(), b.layers());
  EXPECT_EQ(b.cache().full_depth_length(), 100U);
}

}  // namespace
}  // namespace fathom
