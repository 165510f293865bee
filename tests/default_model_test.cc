// The default model against Hugging Face transformers' float32 (golden/engine.json), and the
// promises that only a real model can show: greedy text on routes, fast against exact, bits that do
// not depend on threads or chunks.
#include "model/default_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "depth/route.h"
#include "depth/selector.h"
#include "engine/cpu_model.h"
#include "generate/generator.h"
#include "generate/teacher_forcing.h"
#include "model/softmax.h"

namespace fathom {
namespace {

// The reference's own float32 is off
// by up to 1.2e-4 from float64, and prints 5 decimals.
constexpr double logit_tolerance = 2e-3;

const nlohmann::json& golden() {
  static const nlohmann::json json = [] {
    std::ifstream file(std::filesystem::path(FATHOM_SOURCE_DIR) / "golden" / "engine.json");
    return nlohmann::json::parse(file);
  }();
  return json;
}

std::vector<TokenId> tokens_of(const nlohmann::json& ids) {
  std::vector<TokenId> tokens;
  for (const auto& id : ids) tokens.emplace_back(id.get<std::int32_t>());
  return tokens;
}

Route route_of(const std::string& name) {
  std::vector<LayerIndex> layers;
  for (const auto& number : golden()["routes"].at(name)) {
    layers.emplace_back(number.get<std::int32_t>() - 1);
  }
  return Route::of(layers, 30);
}

class DefaultModelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(std::filesystem::exists(default_model_path()))
        << default_model_path() << ": no such model; run `make model`";
    team = std::make_unique<ThreadTeam>(2);
    exact = std::make_unique<CpuModel>(ModelFiles::open(default_model_path()), Precision::exact,
                                       kernels(), *team);
    fast = std::make_unique<CpuModel>(ModelFiles::open(default_model_path()), Precision::fast,
                                      kernels(), *team);
  }
  static void TearDownTestSuite() {
    exact.reset();
    fast.reset();
    team.reset();
  }

  // Logits of every position of a prompt.
  static std::vector<std::vector<float>> all_logits(CpuModel& model,
                                                    std::span<const TokenId> tokens,
                                                    std::size_t chunk) {
    const auto cache = model.new_cache(tokens.size());
    std::vector<std::vector<float>> rows;
    ForwardOutput output;
    for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
      const SequenceStep step{
          .cache = cache.get(),
          .tokens = tokens.subspan(begin, std::min(chunk, tokens.size() - begin)),
          .logits = LogitRows::all};
      model.forward(std::span(&step, 1), output, nullptr);
      for (std::size_t r = 0; r < output.logit_rows; ++r) {
        const auto row = output.logit_row(r).values;
        rows.emplace_back(row.begin(), row.end());
      }
    }
    return rows;
  }

  static inline std::unique_ptr<ThreadTeam> team;
  static inline std::unique_ptr<CpuModel> exact;
  static inline std::unique_ptr<CpuModel> fast;
};

TEST_F(DefaultModelTest, ExactLogitsEqualTransformers) {
  const auto sample = golden()["vocabulary_sample"].get<std::vector<std::size_t>>();
  double worst = 0;
  for (const auto& prompt : golden()["prompts"]) {
    const auto rows = all_logits(*exact, tokens_of(prompt["ids"]), 64);
    for (const auto& position : prompt["positions"]) {
      const std::vector<float>& row = rows.at(position["position"].get<std::size_t>());
      const auto compare = [&](std::size_t id, double expected) {
        worst = std::max(worst, std::abs(row.at(id) - expected));
      };
      for (std::size_t i = 0; i < sample.size(); ++i) compare(sample[i], position["logits"][i]);
      const auto best_ids = position["best_ids"].get<std::vector<std::size_t>>();
      for (std::size_t i = 0; i < best_ids.size(); ++i) compare(best_ids[i], position["best"][i]);
      // A sum over all of the vocabulary: the logits that were not listed are right too.
      EXPECT_NEAR(log_sum_exp(row), position["log_sum_exp"].get<double>(), logit_tolerance);
    }
    EXPECT_LE(worst, logit_tolerance) << prompt["name"];
  }
  RecordProperty("largest_difference", std::to_string(worst));
}

// All 80 runs of 64 tokens as one batch: 20 prompts on 4 routes.
TEST_F(DefaultModelTest, ExactGreedyTextEqualsTransformersOnRoutes) {
  struct Run {
    std::string name;
    const nlohmann::json* expected;
    RouteSelector selector;
    std::unique_ptr<KvCache> cache;
    TokenId token{};
    bool done = false;
  };
  std::vector<Run> runs;
  ForwardOutput output;
  const StopFlag stop{false};
  Sampler greedy({});
  for (const auto& prompt : golden()["prompts"]) {
    const std::vector<TokenId> tokens = tokens_of(prompt["ids"]);
    const auto cache = exact->new_cache(tokens.size() + 64);
    ASSERT_TRUE(prefill(*exact, *cache, tokens, default_prefill_chunk, output, stop));
    for (const auto& [route, expected] : prompt["greedy"].items()) {
      runs.push_back({.name = prompt["name"].get<std::string>() + " " + route,
                      .expected = &expected,
                      .selector = RouteSelector(route_of(route)),
                      .cache = cache->fork(),
                      .token = greedy.sample(output.logit_row(0), {}, {})});
    }
  }
  ASSERT_EQ(runs.size(), 80U);
  std::size_t compared = 0;
  std::size_t ties = 0;
  for (std::size_t t = 0; t < 64; ++t) {
    std::vector<SequenceStep> steps;
    std::vector<Run*> active;
    for (Run& run : runs) {
      if (run.done) continue;
      const auto expected = (*run.expected)["ids"][t].get<std::int32_t>();
      if (run.token.value != expected) {
        // Where the reference's two best logits are this close, either may come first.
        const double margin = (*run.expected)["logits"][t][0].get<double>() -
                              (*run.expected)["logits"][t][1].get<double>();
        EXPECT_LE(margin, logit_tolerance) << run.name << " at token " << t;
        run.done = true;
        ++ties;
        continue;
      }
      ++compared;
      steps.push_back({.cache = run.cache.get(),
                       .tokens = std::span(&run.token, 1),
                       .role = RowRole::routed,
                       .selector = &run.selector,
                       .logits = LogitRows::last});
      active.push_back(&run);
    }
    exact->forward(steps, output, nullptr);
    for (std::size_t i = 0; i < active.size(); ++i) {
      active[i]->token = greedy.sample(output.logit_row(i), {}, {});
    }
  }
  RecordProperty("tokens_compared", static_cast<int>(compared));
  RecordProperty("runs_ended_by_a_tie", static_cast<int>(ties));
  // The golden has five such ties; a sixth run that ends early would be a defect.
  EXPECT_LE(ties, 5U);
}

TEST_F(DefaultModelTest, ExactNllEqualsTransformersOnRoutes) {
  ForwardOutput output;
  const StopFlag stop{false};
  for (const auto& prompt : golden()["prompts"]) {
    const std::vector<TokenId> tokens = tokens_of(prompt["ids"]);
    const std::vector<TokenId> response = tokens_of(prompt["response_ids"]);
    const auto cache = exact->new_cache(tokens.size() + response.size());
    ASSERT_TRUE(prefill(*exact, *cache, tokens, default_prefill_chunk, output, stop));
    const std::vector<float> logits(output.logit_row(0).values.begin(),
                                    output.logit_row(0).values.end());
    for (const auto& [route, expected] : prompt["nll"].items()) {
      const RouteSelector selector(route_of(route));
      const auto nll = response_nll(*exact, *cache, logits, response, selector, stop).nll;
      ASSERT_EQ(nll.size(), expected.size());
      for (std::size_t i = 0; i < nll.size(); ++i) {
        EXPECT_NEAR(nll[i], expected[i].get<double>(), logit_tolerance)
            << prompt["name"] << " " << route << " token " << i;
      }
    }
  }
}

TEST_F(DefaultModelTest, FastAgreesWithExact) {
  std::size_t same = 0;
  std::size_t total = 0;
  double exact_nll = 0;
  double fast_nll = 0;
  for (const auto& prompt : golden()["prompts"]) {
    // Teacher-forced over the prompt, the reference's own greedy answer and its given response.
    std::vector<TokenId> tokens = tokens_of(prompt["ids"]);
    const std::vector<TokenId> answer = tokens_of(prompt["greedy"]["full"]["ids"]);
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    const auto a = all_logits(*exact, tokens, 64);
    const auto b = all_logits(*fast, tokens, 64);
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) {
      same += most_likely(a[t], 1)[0].token == most_likely(b[t], 1)[0].token ? 1 : 0;
      exact_nll += log_sum_exp(a[t]) - a[t][tokens[t + 1].index()];
      fast_nll += log_sum_exp(b[t]) - b[t][tokens[t + 1].index()];
      ++total;
    }
  }
  const double agreement = static_cast<double>(same) / static_cast<double>(total);
  const double perplexity_ratio = std::exp((fast_nll - exact_nll) / static_cast<double>(total));
  RecordProperty("tokens", static_cast<int>(total));
  RecordProperty("agreement", std::to_string(agreement));
  RecordProperty("perplexity_ratio", std::to_string(perplexity_ratio));
  EXPECT_GE(agreement, 0.97);
  EXPECT_NEAR(perplexity_ratio, 1.0, 0.01);
}

TEST_F(DefaultModelTest, BitsDoNotDependOnThreadsOrChunks) {
  // The longest prompt: several blocks of the cache.
  const nlohmann::json* longest = nullptr;
  for (const auto& prompt : golden()["prompts"]) {
    if (longest == nullptr || prompt["ids"].size() > (*longest)["ids"].size()) longest = &prompt;
  }
  std::vector<TokenId> tokens = tokens_of((*longest)["ids"]);
  tokens.resize(150);
  const auto reference = all_logits(*fast, tokens, tokens.size());
  for (const int threads : {1, 2, 3}) {
    ThreadTeam other_team(threads);
    CpuModel other(ModelFiles::open(default_model_path()), Precision::fast, kernels(), other_team);
    for (const std::size_t chunk : {1U, 7U, 64U}) {
      const auto rows = all_logits(other, tokens, chunk);
      for (std::size_t t = 0; t < tokens.size(); ++t) {
        ASSERT_EQ(0,
                  std::memcmp(rows[t].data(), reference[t].data(), rows[t].size() * sizeof(float)))
            << threads << " threads, chunks of " << chunk << ", position " << t;
      }
    }
  }
}

}  // namespace
}  // namespace fathom
