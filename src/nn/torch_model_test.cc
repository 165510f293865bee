// What engine/ is held to, on libtorch.
#include "nn/torch_model.h"

#include <array>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "engine/compare_logits.h"
#include "engine/cpu_model.h"
#include "engine/golden_logits.h"

namespace fathom {
namespace {

TorchModel open_model(const std::filesystem::path& path, TorchType type = TorchType::float32) {
  return TorchModel(ModelFiles::open(path), {.type = type});
}

void expect_near(const SequenceLogits& a, const SequenceLogits& b, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t t = 0; t < a.size(); ++t) {
    for (std::size_t i = 0; i < a[t].size(); ++i) {
      ASSERT_NEAR(a[t][i], b[t][i], tolerance) << what << ", position " << t << ", id " << i;
    }
  }
}

class TorchFamilyTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TorchFamilyTest, testing::ValuesIn(golden_family_names()),
                         golden_test_name);

TEST_P(TorchFamilyTest, LogitsEqualTransformersAtFullDepthAndOnRoutes) {
  const GoldenFamily golden(GetParam());
  TorchModel model = open_model(golden_families() / GetParam());
  for (const std::size_t chunk : {golden.prompt, std::size_t{7}, std::size_t{1}}) {
    expect_golden_logits(model, golden, chunk, "chunks of " + std::to_string(chunk));
  }
}

// Sequences on different routes and at different positions share a pass.
TEST_P(TorchFamilyTest, CompanyChangesNoMoreThanRounding) {
  const GoldenFamily golden(GetParam());
  TorchModel model = open_model(golden_families() / GetParam());
  const std::int32_t depth = model.config().depth();
  const std::span<const TokenId> ids(golden.ids);
  const std::array selectors{RouteSelector(Route::full(depth)),
                             RouteSelector(Route::uniform(2, depth)),
                             RouteSelector(Route::first(1, depth))};
  std::vector<SequenceLogits> together(selectors.size());
  std::vector<std::unique_ptr<KvCache>> caches;
  for (std::size_t s = 0; s < selectors.size(); ++s) caches.push_back(model.new_cache(64));
  for (std::size_t t = 0; t < ids.size(); t += t == 0 ? golden.prompt : 1) {
    std::vector<SequenceStep> steps;
    for (std::size_t s = 0; s < selectors.size(); ++s) {
      steps.push_back({.cache = caches[s].get(),
                       .tokens = ids.subspan(t, t == 0 ? golden.prompt - s : 1),
                       .role = t == 0 ? RowRole::prompt : RowRole::routed,
                       .selector = &selectors.at(s),
                       .logits = LogitRows::all});
    }
    ForwardOutput output;
    model.forward(steps, output, nullptr);
    std::size_t row = 0;
    for (std::size_t s = 0; s < steps.size(); ++s) {
      if (t > 0) {
        EXPECT_EQ(output.layers_run[s], static_cast<std::uint64_t>(selectors.at(s).route().cost()));
      }
      for (std::size_t i = 0; i < steps[s].tokens.size(); ++i, ++row) {
        const auto values = output.logit_row(row).values;
        together[s].emplace_back(values.begin(), values.end());
      }
    }
  }
  for (std::size_t s = 0; s < selectors.size(); ++s) {
    const auto cache = model.new_cache(64);
    SequenceLogits alone;
    append_steps(model, *cache, ids.first(golden.prompt - s), nullptr, alone);
    for (std::size_t t = golden.prompt; t < ids.size(); ++t) {
      append_steps(model, *cache, ids.subspan(t, 1), &selectors.at(s), alone);
    }
    expect_near(together[s], alone, 1e-4, "sequence " + std::to_string(s));
  }
}

class TorchFamilyFilesTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TorchFamilyFilesTest, testing::ValuesIn(golden_families_with_gguf()),
                         golden_test_name);

TEST_P(TorchFamilyFilesTest, GgufFilesGiveTheSameLogits) {
  const GoldenFamily golden(GetParam());
  TorchModel model = open_model(golden_families() / GetParam() / "model.gguf");
  expect_golden_logits(model, golden, golden.prompt, "GGUF");
}

// In 8 bits less is promised, so the engine is the reference.
TEST_P(TorchFamilyFilesTest, QuantisedWeightsGiveTheEnginesLogits) {
  const GoldenFamily golden(GetParam());
  const std::filesystem::path path = golden_families() / GetParam() / "model.q8_0.gguf";
  TorchModel model = open_model(path);
  ThreadTeam team(1);
  CpuModel engine(ModelFiles::open(path), Precision::exact, kernels(), team);
  const RouteSelector route(Route::uniform(3, model.config().depth()));
  expect_near(run_golden(model, golden, golden.prompt, route),
              run_golden(engine, golden, golden.prompt, route), 1e-4, path.string());
}

// bfloat16 has 8 bits of precision, and these random models amplify errors: a coarse test.
TEST_P(TorchFamilyFilesTest, LogitsInBfloat16FollowThoseInFloat32) {
  const GoldenFamily golden(GetParam());
  TorchModel model = open_model(golden_families() / GetParam());
  TorchModel coarse = open_model(golden_families() / GetParam(), TorchType::bfloat16);
  const RouteSelector full(Route::full(model.config().depth()));
  const SequenceLogits a = run_golden(model, golden, golden.prompt, full);
  const SequenceLogits b = run_golden(coarse, golden, golden.prompt, full);
  for (std::size_t t = 0; t < a.size(); ++t) EXPECT_GT(correlation(a[t], b[t]), 0.98) << t;
}

class TorchTinyModelTest : public testing::TestWithParam<GoldenTinyModel> {};
INSTANTIATE_TEST_SUITE_P(All, TorchTinyModelTest, testing::ValuesIn(golden_tiny_models()),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(TorchTinyModelTest, LogitsEqualTransformers) {
  TorchModel model = open_model(GetParam().model);
  expect_golden_logits(model, GetParam(), "torch");
}

class TorchModelTest : public testing::Test {
 protected:
  static constexpr std::int32_t depth = 4;
  TorchModel model_ = open_model(golden_folder() / "tiny" / "rope-linear");
  std::vector<TokenId> tokens_{TokenId{5}, TokenId{6}, TokenId{7}, TokenId{8}};
  RouteSelector shallow_{Route::first(2, depth)};
  RouteSelector deep_{Route::full(depth)};

  SequenceLogits append(KvCache& cache, std::size_t count, const Selector* selector) {
    SequenceLogits logits;
    append_steps(model_, cache, std::span(tokens_).first(count), selector, logits);
    return logits;
  }
};

/// Keeps the states that a forward pass of one step shows.
struct Recorder final : HiddenStateSink {
  std::vector<std::vector<float>> states;
  void entering(std::size_t, const LayerRows& rows) override { add(rows); }
  void layer_output(std::size_t, LayerIndex, const LayerRows& rows) override { add(rows); }
  void add(const LayerRows& rows) { states.emplace_back(rows.hidden.begin(), rows.hidden.end()); }
};

TEST_F(TorchModelTest, RunningALayerThatAnEarlierPositionSkippedIsAnError) {
  const auto cache = model_.new_cache(64);
  append(*cache, 4, nullptr);
  append(*cache, 1, &shallow_);
  EXPECT_EQ(cache->valid_length(LayerIndex{1}), 5U);
  EXPECT_EQ(cache->valid_length(LayerIndex{2}), 4U);
  EXPECT_THROW(append(*cache, 1, &deep_), std::logic_error);
  EXPECT_EQ(cache->length(), 5U);
  EXPECT_EQ(cache->valid_length(LayerIndex{0}), 5U);
  append(*cache, 1, &shallow_);
  EXPECT_EQ(cache->length(), 6U);
}

TEST_F(TorchModelTest, ForksAndTruncationChangeNothing) {
  const auto cache = model_.new_cache(128);
  append(*cache, 4, nullptr);
  const auto fork = cache->fork();
  const SequenceLogits deep = append(*cache, 1, &deep_);
  const SequenceLogits shallow = append(*fork, 1, &shallow_);
  const auto alone = model_.new_cache(128);
  append(*alone, 4, nullptr);
  expect_near(append(*alone, 1, &shallow_), shallow, 1e-5, "fork");
  alone->truncate(4);
  expect_near(append(*alone, 1, &deep_), deep, 1e-5, "truncate");
  EXPECT_EQ(alone->length(), 5U);
  // Past the room that a cache begins with.
  for (int i = 0; i < 30; ++i) append(*alone, 4, &deep_);
  EXPECT_EQ(alone->valid_length(LayerIndex{3}), 125U);
  EXPECT_THROW(append(*alone, 4, &deep_), InputError);
}

TEST_F(TorchModelTest, SkippedLayersTakeNoCacheMemory) {
  const auto one = model_.new_cache(64);
  const auto two = model_.new_cache(64);
  append(*one, 4, &shallow_);
  append(*two, 4, &deep_);
  EXPECT_GT(one->bytes(), 0U);
  EXPECT_EQ(two->bytes(), 2 * one->bytes());
}

TEST_F(TorchModelTest, RefusesTokensAndLengthsOutOfRange) {
  EXPECT_THROW((void)model_.new_cache(0), InputError);
  EXPECT_THROW((void)model_.new_cache(model_.config().context + 1), InputError);
  const auto cache = model_.new_cache(8);
  tokens_[1] = TokenId{384};
  EXPECT_THROW(append(*cache, 2, nullptr), InputError);
  EXPECT_EQ(cache->length(), 0U);
}

TEST_F(TorchModelTest, GoingOnFromTheStatesThatEnterALayerChangesNothing) {
  const RouteSelector route(Route::of(std::vector{LayerIndex{0}, LayerIndex{2}}, depth));
  const auto pass = [&](std::optional<EnteringStates> entering, Recorder& seen) {
    const auto cache = model_.new_cache(64);
    const SequenceStep step{.cache = cache.get(),
                            .tokens = tokens_,
                            .role = RowRole::routed,
                            .selector = &route,
                            .entering = entering,
                            .logits = LogitRows::all};
    ForwardOutput output;
    model_.forward(std::span(&step, 1), output, &seen);
    const auto logits = output.logits.span().first(output.logit_rows * output.vocabulary);
    return std::vector<float>(logits.begin(), logits.end());
  };
  Recorder whole;
  const std::vector<float> expected = pass(std::nullopt, whole);
  ASSERT_EQ(whole.states.size(), 5U);
  EXPECT_NE(whole.states[0], whole.states[1]);
  EXPECT_EQ(whole.states[1], whole.states[2]);
  for (std::int32_t layer = 0; layer <= depth; ++layer) {
    Recorder rest;
    EXPECT_EQ(pass(EnteringStates{LayerIndex{layer}, whole.states[static_cast<std::size_t>(layer)]},
                   rest),
              expected)
        << layer;
  }
  ForwardOutput output;
  model_.head(whole.states.back(), output);
  const auto by_head = output.logits.span().first(expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(by_head[i], expected[i], 1e-4);
  EXPECT_EQ(output.logit_row(0).maxima[0],
            *std::max_element(by_head.begin(), by_head.begin() + logit_block));
}

TEST(TorchOptions, AreParsed) {
  EXPECT_EQ(parse_torch_device("cuda"), TorchDevice::cuda);
  EXPECT_EQ(parse_torch_type("bfloat16"), TorchType::bfloat16);
  EXPECT_THAT(error_of<InputError>([] { (void)parse_torch_device("gpu"); }),
              testing::HasSubstr("cpu or cuda"));
  EXPECT_THAT(error_of<InputError>([] { (void)parse_torch_type("int8"); }),
              testing::HasSubstr("bfloat16"));
}

}  // namespace
}  // namespace fathom
