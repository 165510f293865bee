#include "study/route_similarity.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/thread_team.h"
#include "engine/cpu_model.h"
#include "generate/generator.h"
#include "generate/teacher_forcing.h"
#include "kernels/kernels.h"
#include "study/some_tokens.h"

namespace fathom {
namespace {

/// Every layer's output in a forward pass of one step.
struct Recorder final : HiddenStateSink {
  std::vector<std::vector<float>> layers;
  void entering(std::size_t /*step*/, const LayerRows& /*rows*/) override {}
  void layer_output(std::size_t /*step*/, LayerIndex /*layer*/, const LayerRows& rows) override {
    layers.emplace_back(rows.hidden.begin(), rows.hidden.end());
  }
};

class RouteSimilarityTest : public testing::Test {
 protected:
  RouteSimilarityTest() {
    EXPECT_TRUE(prefill(model_, *cache_, prompt_, 64, output_, stop_));
    logits_.assign(output_.logit_row(0).values.begin(), output_.logit_row(0).values.end());
  }

  // The states of the response on a route, in a pass of its own.
  Recorder states_on(const Route& route) {
    const RouteSelector selector(route);
    const auto cache = cache_->fork();
    const SequenceStep step{.cache = cache.get(),
                            .tokens = response_,
                            .role = RowRole::routed,
                            .selector = &selector,
                            .logits = LogitRows::none};
    Recorder recorder;
    ForwardOutput output;
    model_.forward(std::span(&step, 1), output, &recorder);
    return recorder;
  }

  double mean_cosine(std::span<const float> a, std::span<const float> b) {
    const std::size_t width = model_.config().width;
    double sum = 0;
    for (std::size_t t = 0; t < response_.size(); ++t) {
      double ab = 0;
      double aa = 0;
      double bb = 0;
      for (std::size_t i = t * width; i < (t + 1) * width; ++i) {
        ab += static_cast<double>(a[i]) * b[i];
        aa += static_cast<double>(a[i]) * a[i];
        bb += static_cast<double>(b[i]) * b[i];
      }
      sum += ab / std::sqrt(aa * bb);
    }
    return sum / static_cast<double>(response_.size());
  }

  std::filesystem::path file_ =
      std::filesystem::path(FATHOM_SOURCE_DIR) / "golden" / "tiny" / "rope-linear";
  ThreadTeam team_{2};
  CpuModel model_{ModelFiles::open(file_), Precision::exact, kernels(), team_};
  std::int32_t depth_ = model_.config().depth();
  std::vector<TokenId> prompt_ = some_tokens(17, 5);
  std::vector<TokenId> response_ = some_tokens(80, 11);
  std::unique_ptr<KvCache> cache_ = model_.new_cache(128);
  ForwardOutput output_;
  std::vector<float> logits_;
  StopFlag stop_{false};
};

std::vector<Route> all_routes(std::int32_t depth) {
  std::vector<Route> routes;
  for (std::int32_t set = 1; set < (1 << depth); ++set) {
    std::vector<LayerIndex> layers;
    for (std::int32_t l = 0; l < depth; ++l) {
      if ((set >> l & 1) != 0) layers.emplace_back(l);
    }
    routes.push_back(Route::of(layers, depth));
  }
  return routes;
}

TEST_F(RouteSimilarityTest, IsThatOfPassesOfTheirOwn) {
  ResponseSimilarity similarity(model_, *cache_, logits_, response_);
  const Recorder full = states_on(Route::full(depth_));
  for (const Route& route : all_routes(depth_)) {
    const RouteSimilarity measured = similarity.measure(route);
    const Recorder states = states_on(route);
    ASSERT_EQ(measured.layers.size(), full.layers.size());
    for (std::size_t l = 0; l < full.layers.size(); ++l) {
      EXPECT_NEAR(measured.layers[l], mean_cosine(full.layers[l], states.layers[l]), 1e-12)
          << route.to_string() << " layer " << l + 1;
    }
    EXPECT_EQ(measured.final(), measured.layers.back());
    EXPECT_NEAR(
        measured.intermediate(),
        std::accumulate(measured.layers.begin(), measured.layers.end() - 1, 0.0) / (depth_ - 1),
        1e-12);
    std::vector<float> a(full.layers.back().size());
    std::vector<float> b(a.size());
    model_.final_norm(full.layers.back(), a);
    model_.final_norm(states.layers.back(), b);
    EXPECT_NEAR(measured.final_normed, mean_cosine(a, b), 1e-12);
    EXPECT_EQ(measured.nll,
              response_nll(model_, *cache_, logits_, response_, RouteSelector(route), stop_).nll);
  }
}

// What is shared with the route before changes no bit of the result.
TEST_F(RouteSimilarityTest, DoesNotDependOnTheOrderOfRoutes) {
  std::vector<Route> routes = all_routes(depth_);
  ResponseSimilarity forwards(model_, *cache_, logits_, response_);
  std::vector<RouteSimilarity> expected;
  for (const Route& route : routes) expected.push_back(forwards.measure(route));

  ResponseSimilarity sorted(model_, *cache_, logits_, response_);
  std::vector<std::size_t> order(routes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return shares_most(routes[a], routes[b]); });
  EXPECT_EQ(routes[order.front()], Route::full(depth_));
  for (const std::size_t i : order) {
    const RouteSimilarity measured = sorted.measure(routes[i]);
    EXPECT_EQ(measured.layers, expected[i].layers) << routes[i].to_string();
    EXPECT_EQ(measured.final_normed, expected[i].final_normed);
    EXPECT_EQ(measured.nll, expected[i].nll);
  }
  // Twice the same route.
  EXPECT_EQ(sorted.measure(routes[order.back()]).nll, expected[order.back()].nll);
}

TEST_F(RouteSimilarityTest, TheFullRouteIsItself) {
  ResponseSimilarity similarity(model_, *cache_, logits_, response_);
  (void)similarity.measure(Route::first(1, depth_));
  const RouteSimilarity full = similarity.measure(Route::full(depth_));
  EXPECT_EQ(full.layers, std::vector<double>(full.layers.size(), 1.0));
  EXPECT_EQ(full.nll, similarity.full().nll);
}

TEST_F(RouteSimilarityTest, RefusesWhatDoesNotFit) {
  EXPECT_THROW(ResponseSimilarity(model_, *cache_, logits_, {}), InputError);
  EXPECT_THROW(ResponseSimilarity(model_, *cache_, logits_, some_tokens(112, 0)), InputError);
  const ResponseSimilarity longest(model_, *cache_, logits_, some_tokens(111, 0));
  EXPECT_EQ(longest.full().nll.size(), 111U);
}

}  // namespace
}  // namespace fathom
