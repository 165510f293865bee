#include "study/forced_response.h"

#include <cmath>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/cpu_model.h"
#include "generate/teacher_forcing.h"
#include "kernels/kernels.h"
#include "model/lora_adapter.h"
#include "study/route_similarity.h"
#include "study/some_tokens.h"

namespace fathom {
namespace {

enum class WithAdapter { no, routed };

/// Also where an adapter acts on routes and not on full depth, so that they share nothing.
class ForcedResponseTest : public testing::TestWithParam<std::tuple<Precision, WithAdapter>> {
 protected:
  ForcedResponseTest() {
    if (std::get<WithAdapter>(GetParam()) == WithAdapter::routed) {
      LoraAdapter adapter = LoraAdapter::open(golden_ / "adapters" / "llama", model_.config());
      adapter.settings.rows = AdapterRows::routed;
      model_.set_adapter(adapter);
    }
    EXPECT_TRUE(prefill(model_, *cache_, prompt_, 64, output_, stop_));
    logits_.assign(output_.logit_row(0).values.begin(), output_.logit_row(0).values.end());
    for (std::int32_t set = 1; set < (1 << depth_); ++set) {
      std::vector<LayerIndex> layers;
      for (std::int32_t l = 0; l < depth_; ++l) {
        if ((set >> l & 1) != 0) layers.emplace_back(l);
      }
      routes_.push_back(Route::of(layers, depth_));
    }
  }

  std::filesystem::path golden_ = std::filesystem::path(FATHOM_SOURCE_DIR) / "golden";
  ThreadTeam team_{2};
  CpuModel model_{
      ModelFiles::open(
          golden_ / "tiny" /
          (std::get<WithAdapter>(GetParam()) == WithAdapter::no ? "rope-linear" : "wide-heads")),
      std::get<Precision>(GetParam()), kernels(), team_};
  std::int32_t depth_ = model_.config().depth();
  std::vector<TokenId> prompt_ = some_tokens(17, 5);
  std::vector<TokenId> response_ = some_tokens(80, 11);
  std::unique_ptr<KvCache> cache_ = model_.new_cache(128);
  ForwardOutput output_;
  std::vector<float> logits_;
  std::vector<Route> routes_;
  StopFlag stop_{false};
};

// Bit for bit what a pass of its own gives each route, whatever the others are.
TEST_P(ForcedResponseTest, LikelihoodsAreThoseOfPassesOfTheirOwn) {
  ForcedResponse forced(model_, team_, *cache_, logits_, response_);
  const std::vector<double> together = forced.nll(routes_);
  for (std::size_t r = 0; r < routes_.size(); ++r) {
    const std::vector<double> alone =
        response_nll(model_, *cache_, logits_, response_, RouteSelector(routes_[r]), stop_).nll;
    double sum = 0;
    for (const double nll : alone) sum += nll;
    EXPECT_EQ(together[r], sum / static_cast<double>(alone.size())) << routes_[r].to_string();
    EXPECT_EQ(forced.nll(std::span(routes_).subspan(r, 1)).front(), together[r]);
  }
}

TEST_P(ForcedResponseTest, EffectsAreThoseOfTheirDefinitions) {
  ForcedResponse forced(model_, team_, *cache_, logits_, response_);
  const std::vector<RouteEffect> effects = forced.effects(routes_);
  const std::vector<double> nll = forced.nll(routes_);
  const auto inputs = std::span<const TokenId>(response_).first(response_.size() - 1);
  ResponseSimilarity similarity(model_, *cache_, logits_, inputs);
  const auto logits_on = [&](const Route& route) {
    const RouteSelector selector(route);
    const auto cache = cache_->fork();
    const SequenceStep step{.cache = cache.get(),
                            .tokens = inputs,
                            .role = RowRole::routed,
                            .selector = &selector,
                            .logits = LogitRows::all};
    model_.forward(std::span(&step, 1), output_, nullptr);
    const auto values = output_.logits.span().first(inputs.size() * output_.vocabulary);
    return std::vector<double>(values.begin(), values.end());
  };
  const std::vector<double> full = logits_on(Route::full(depth_));
  for (std::size_t r = 0; r < routes_.size(); ++r) {
    EXPECT_EQ(effects[r].nll, nll[r]);
    EXPECT_NEAR(effects[r].similarity, similarity.measure(routes_[r]).final(), 1e-12);
    const std::vector<double> routed = logits_on(routes_[r]);
    double divergence = 0;
    const std::size_t vocabulary = output_.vocabulary;
    for (std::size_t t = 0; t < inputs.size(); ++t) {
      double full_total = 0;
      double routed_total = 0;
      for (std::size_t v = 0; v < vocabulary; ++v) {
        full_total += std::exp(full[t * vocabulary + v]);
        routed_total += std::exp(routed[t * vocabulary + v]);
      }
      for (std::size_t v = 0; v < vocabulary; ++v) {
        const double p = std::exp(full[t * vocabulary + v]) / full_total;
        const double q = std::exp(routed[t * vocabulary + v]) / routed_total;
        divergence += p * std::log(p / q);
      }
    }
    EXPECT_NEAR(effects[r].divergence, divergence / static_cast<double>(inputs.size()), 2e-6);
  }
  EXPECT_NEAR(effects.back().divergence, 0, 1e-6);
  EXPECT_EQ(effects.back().similarity, 1);
}

TEST_P(ForcedResponseTest, BlockInfluenceLooksAtOneLayersInputAndOutput) {
  struct Recorder final : HiddenStateSink {
    std::vector<std::vector<float>> states;
    void entering(std::size_t /*step*/, const LayerRows& rows) override { add(rows); }
    void layer_output(std::size_t /*step*/, LayerIndex /*layer*/, const LayerRows& rows) override {
      add(rows);
    }
    void add(const LayerRows& rows) { states.emplace_back(rows.hidden.begin(), rows.hidden.end()); }
  } recorder;
  const auto inputs = std::span<const TokenId>(response_).first(response_.size() - 1);
  const RouteSelector selector(Route::full(depth_));
  const auto cache = cache_->fork();
  const SequenceStep step{.cache = cache.get(),
                          .tokens = inputs,
                          .role = RowRole::routed,
                          .selector = &selector,
                          .logits = LogitRows::none};
  model_.forward(std::span(&step, 1), output_, &recorder);
  const ForcedResponse forced(model_, team_, *cache_, logits_, response_);
  ASSERT_EQ(forced.block_influence().size(), static_cast<std::size_t>(depth_));
  const std::size_t width = model_.config().width;
  for (std::size_t l = 0; l < forced.block_influence().size(); ++l) {
    double sum = 0;
    for (std::size_t t = 0; t < inputs.size(); ++t) {
      double ab = 0;
      double aa = 0;
      double bb = 0;
      for (std::size_t i = t * width; i < (t + 1) * width; ++i) {
        const double a = recorder.states[l][i];
        const double b = recorder.states[l + 1][i];
        ab += a * b;
        aa += a * a;
        bb += b * b;
      }
      sum += ab / std::sqrt(aa * bb);
    }
    EXPECT_NEAR(forced.block_influence()[l], 1 - sum / static_cast<double>(inputs.size()), 1e-12);
  }
}

TEST_P(ForcedResponseTest, RefusesWhatIsTooShortOrDoesNotFit) {
  const auto make = [&](std::size_t tokens) {
    ForcedResponse(model_, team_, *cache_, logits_, some_tokens(tokens, 0));
  };
  EXPECT_THROW(make(0), InputError);
  EXPECT_THROW(make(1), InputError);
  EXPECT_THROW(make(113), InputError);
  make(112);
  make(2);
}

INSTANTIATE_TEST_SUITE_P(
    All, ForcedResponseTest,
    testing::Combine(testing::Values(Precision::exact, Precision::fast),
                     testing::Values(WithAdapter::no, WithAdapter::routed)),
    [](const auto& instance) {
      return std::string(std::get<Precision>(instance.param) == Precision::exact ? "exact"
                                                                                 : "fast") +
             (std::get<WithAdapter>(instance.param) == WithAdapter::no ? "" : "_adapter");
    });

}  // namespace
}  // namespace fathom
