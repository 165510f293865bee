#include "engine/cpu_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "depth/selector.h"
#include "engine/compare_logits.h"
#include "engine/golden_logits.h"
#include "formats/dequantize.h"
#include "formats/gguf_test_writer.h"
#include "formats/test_folder.h"
#include "model/gguf_export.h"

namespace fathom {
namespace {

std::filesystem::path golden() { return golden_folder(); }

/// One sequence run through a model: every row's logits, token by token or in chunks.
class Sequence {
 public:
  explicit Sequence(CpuModel& model) : model_(&model), cache_(model.new_cache(128)) {}

  void prompt(std::span<const TokenId> tokens, std::size_t chunk) {
    for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
      append(tokens.subspan(begin, std::min(chunk, tokens.size() - begin)), RowRole::prompt,
             nullptr);
    }
  }
  void routed(std::span<const TokenId> tokens, const Selector& selector) {
    append(tokens, RowRole::routed, &selector);
  }
  [[nodiscard]] Sequence fork() const {
    Sequence copy(*this);
    copy.cache_ = cache_->fork();
    return copy;
  }
  void truncate(std::size_t length) {
    cache_->truncate(length);
    logits_.resize(length);
  }
  [[nodiscard]] const std::vector<std::vector<float>>& logits() const { return logits_; }
  [[nodiscard]] KvCache& cache() { return *cache_; }

 private:
  Sequence(const Sequence& other) : model_(other.model_), logits_(other.logits_) {}

  void append(std::span<const TokenId> tokens, RowRole role, const Selector* selector) {
    const SequenceStep step{.cache = cache_.get(),
                            .tokens = tokens,
                            .role = role,
                            .selector = selector,
                            .logits = LogitRows::all};
    ForwardOutput output;
    model_->forward(std::span(&step, 1), output, nullptr);
    for (std::size_t r = 0; r < output.logit_rows; ++r) {
      const auto row = output.logit_row(r).values;
      logits_.emplace_back(row.begin(), row.end());
    }
  }

  CpuModel* model_;
  std::unique_ptr<KvCache> cache_;
  std::vector<std::vector<float>> logits_;
};

class TinyModelTest : public testing::TestWithParam<GoldenTinyModel> {};

INSTANTIATE_TEST_SUITE_P(All, TinyModelTest, testing::ValuesIn(golden_tiny_models()),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(TinyModelTest, ExactLogitsEqualTransformers) {
  ThreadTeam team(2);
  for (const Kernels* const kernels : available_kernels()) {
    CpuModel model(ModelFiles::open(GetParam().model), Precision::exact, *kernels, team);
    expect_golden_logits(model, GetParam(), std::string(kernels->name));
  }
}

TEST_P(TinyModelTest, FastLogitsFollowExactOnes) {
  // These random models amplify errors, so the test is a coarse one: it finds a wrong layout or
  // scale, not a rounding. The default model is held to tight bounds in tests/.
  ThreadTeam team(1);
  const std::vector<TokenId> tokens =
      golden_tokens(read_golden(GetParam().expected)["prompts"][1]["ids"]);
  for (const Kernels* const kernels : available_kernels()) {
    CpuModel exact(ModelFiles::open(GetParam().model), Precision::exact, *kernels, team);
    CpuModel fast(ModelFiles::open(GetParam().model), Precision::fast, *kernels, team);
    Sequence a(exact);
    Sequence b(fast);
    a.prompt(tokens, tokens.size());
    b.prompt(tokens, tokens.size());
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      EXPECT_GT(correlation(a.logits()[t], b.logits()[t]), 0.98) << kernels->name << " " << t;
    }
  }
}

/// The promise that a sequence's logits do not depend on company, for every set of kernels and both
/// precisions, on a model whose weights are integers and one whose weights are floats.
struct InvarianceCase {
  const Kernels* kernels;
  Precision precision;
  std::string model;
};

std::string case_name(const InvarianceCase& c) {
  return fmt::format("{}_{}_{}", c.kernels->name,
                     c.precision == Precision::exact ? "exact" : "fast", c.model);
}
void PrintTo(const InvarianceCase& c, std::ostream* out) { *out << case_name(c); }  // NOLINT

std::vector<InvarianceCase> invariance_cases() {
  std::vector<InvarianceCase> cases;
  for (const Kernels* const kernels : available_kernels()) {
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      for (const char* const model : {"q4_1", "q6_k", "f16"}) {
        cases.push_back({kernels, precision, model});
      }
    }
  }
  return cases;
}

class EngineInvarianceTest : public testing::TestWithParam<InvarianceCase> {
 protected:
  [[nodiscard]] CpuModel model(ThreadTeam& team) const {
    return CpuModel(ModelFiles::open(golden() / "tiny_gguf" / (GetParam().model + ".gguf")),
                    GetParam().precision, *GetParam().kernels, team);
  }
  // 100 tokens: more than a block of the cache.
  [[nodiscard]] static std::vector<TokenId> tokens(std::uint64_t seed, std::size_t count = 100) {
    RandomStream random({.seed = seed});
    std::vector<TokenId> result;
    for (std::size_t i = 0; i < count; ++i) {
      result.emplace_back(static_cast<std::int32_t>(random.below(300)));
    }
    return result;
  }
  // A prompt of 70 and a response of 30 on a route.
  static void run(Sequence& sequence, std::span<const TokenId> all, const Selector& selector,
                  std::size_t chunk) {
    sequence.prompt(all.first(70), chunk);
    for (std::size_t t = 70; t < all.size(); ++t) sequence.routed(all.subspan(t, 1), selector);
  }
};

INSTANTIATE_TEST_SUITE_P(All, EngineInvarianceTest, testing::ValuesIn(invariance_cases()),
                         [](const auto& instance) { return case_name(instance.param); });

// Weights quantised while they are packed are those of a file converted to the same type.
TEST_P(TinyModelTest, QuantizedAtLoadIsTheConvertedFileToTheBit) {
  const TestFolder folder;
  ThreadTeam team(2);
  const std::vector<TokenId> tokens =
      golden_tokens(read_golden(GetParam().expected)["prompts"][1]["ids"]);
  for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1}) {
    const std::filesystem::path path = folder.path() / (std::string(info(type).name) + ".gguf");
    ASSERT_TRUE(GgufExport::open(GetParam().model, type).write(path, team, [](std::uint64_t) {
      return true;
    }));
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      ModelFiles files = ModelFiles::open(GetParam().model);
      files.convert_weights(type);
      EXPECT_EQ(model_sizes(files.tensors).total().parameters,
                model_sizes(ModelFiles::open(path).tensors).total().parameters);
      CpuModel at_load(std::move(files), precision, kernels(), team);
      CpuModel converted(ModelFiles::open(path), precision, kernels(), team);
      Sequence a(at_load);
      Sequence b(converted);
      a.prompt(tokens, tokens.size());
      b.prompt(tokens, tokens.size());
      expect_same_bits(a.logits(), b.logits(), std::string(info(type).name));
    }
  }
}

// A converted folder computes what the folder does, to the bit where the type is the folder's own.
TEST_P(TinyModelTest, ConvertedToFloat32IsTheSameModel) {
  if (!std::filesystem::is_directory(GetParam().model)) return;
  const TestFolder folder;
  ThreadTeam team(2);
  const std::vector<TokenId> tokens =
      golden_tokens(read_golden(GetParam().expected)["prompts"][1]["ids"]);
  ASSERT_TRUE(GgufExport::open(GetParam().model, TensorType::F32)
                  .write(folder.path() / "a.gguf", team, [](std::uint64_t) { return true; }));
  CpuModel original(ModelFiles::open(GetParam().model), Precision::exact, kernels(), team);
  CpuModel converted(ModelFiles::open(folder.path() / "a.gguf"), Precision::exact, kernels(), team);
  Sequence a(original);
  Sequence b(converted);
  a.prompt(tokens, tokens.size());
  b.prompt(tokens, tokens.size());
  expect_same_bits(a.logits(), b.logits(), "f32");
}

TEST_P(EngineInvarianceTest, ThreadsAndChunksChangeNothing) {
  const std::vector<TokenId> all = tokens(1);
  ThreadTeam one(1);
  CpuModel reference_model = model(one);
  const RouteSelector route(Route::first(1, reference_model.config().depth()));
  Sequence reference(reference_model);
  run(reference, all, route, 70);
  for (const int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    CpuModel other_model = model(team);
    for (const std::size_t chunk : {1U, 7U, 64U, 70U}) {
      Sequence other(other_model);
      run(other, all, route, chunk);
      expect_same_bits(reference.logits(), other.logits(),
                       std::to_string(threads) + " threads, chunks of " + std::to_string(chunk));
    }
    // Teacher-forced: the whole response in one step.
    Sequence forced(other_model);
    forced.prompt(std::span(all).first(70), 70);
    forced.routed(std::span(all).subspan(70), route);
    expect_same_bits(reference.logits(), forced.logits(), "response in one step");
  }
}

TEST_P(EngineInvarianceTest, ForksAndTruncationChangeNothing) {
  const std::vector<TokenId> all = tokens(2);
  const std::vector<TokenId> others = tokens(3);
  ThreadTeam team(2);
  CpuModel shared = model(team);
  const std::int32_t depth = shared.config().depth();
  const RouteSelector full(Route::full(depth));
  const RouteSelector last(Route::of(std::vector{LayerIndex{depth - 1}}, depth));
  Sequence reference(shared);
  run(reference, all, last, 70);

  // One prompt pass, two routes; the fork and the original write into what they shared.
  Sequence original(shared);
  original.prompt(std::span(all).first(70), 70);
  Sequence forked = original.fork();
  for (std::size_t t = 70; t < 100; ++t) {
    original.routed(std::span(others).subspan(t, 1), full);
    forked.routed(std::span(all).subspan(t, 1), last);
  }
  expect_same_bits(reference.logits(), forked.logits(), "fork");

  // Back to the middle of the prompt and on with the same tokens, after other ones.
  original.truncate(33);
  original.prompt(std::span(all).subspan(33, 37), 5);
  for (std::size_t t = 70; t < 100; ++t) original.routed(std::span(all).subspan(t, 1), last);
  expect_same_bits(reference.logits(), original.logits(), "truncate");
}

TEST_P(EngineInvarianceTest, CompanyInABatchChangesNothing) {
  ThreadTeam team(2);
  CpuModel shared = model(team);
  const std::int32_t depth = shared.config().depth();
  // Sequences of random lengths on random routes, which join two by two and leave when they are
  // done: up to some thirty at once, so that layers run with few rows and with more than a tile.
  struct Member {
    std::vector<TokenId> all;
    RouteSelector selector;
    std::unique_ptr<KvCache> cache;
    std::vector<std::vector<float>> logits;
    std::size_t done = 0;
  };
  std::vector<Member> members;
  RandomStream random({.seed = 3});
  for (std::uint64_t i = 0; i < 36; ++i) {
    const auto cost = static_cast<std::int32_t>(1 + i % static_cast<std::uint64_t>(depth));
    members.push_back({.all = tokens(10 + i, 14 + random.below(i % 8 == 0 ? 60 : 16)),
                       .selector = RouteSelector(Route::random_free(cost, depth, 5, i)),
                       .cache = shared.new_cache(128),
                       .logits = {}});
  }
  constexpr std::size_t prompt_tokens = 12;
  ForwardOutput output;
  for (std::size_t round = 0;; ++round) {
    std::vector<SequenceStep> steps;
    std::vector<Member*> active;
    for (std::size_t i = 0; i < members.size() && i <= 2 * round + 1; ++i) {
      Member& member = members[i];
      if (member.done == member.all.size()) continue;
      const std::size_t count = member.done == 0 ? prompt_tokens : 1;
      steps.push_back({.cache = member.cache.get(),
                       .tokens = std::span(member.all).subspan(member.done, count),
                       .role = member.done == 0 ? RowRole::prompt : RowRole::routed,
                       .selector = &member.selector,
                       .logits = LogitRows::all});
      active.push_back(&member);
      member.done += count;
    }
    if (steps.empty()) break;
    shared.forward(steps, output, nullptr);
    std::size_t row = 0;
    for (std::size_t s = 0; s < steps.size(); ++s) {
      for (std::size_t i = 0; i < steps[s].tokens.size(); ++i, ++row) {
        const auto logits = output.logit_row(row).values;
        active[s]->logits.emplace_back(logits.begin(), logits.end());
      }
      if (steps[s].role == RowRole::routed) {
        EXPECT_EQ(output.layers_run[s],
                  static_cast<std::uint64_t>(active[s]->selector.route().cost()));
      }
    }
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    Sequence alone(shared);
    alone.prompt(std::span(members[i].all).first(prompt_tokens), prompt_tokens);
    for (std::size_t t = prompt_tokens; t < members[i].all.size(); ++t) {
      alone.routed(std::span(members[i].all).subspan(t, 1), members[i].selector);
    }
    expect_same_bits(alone.logits(), members[i].logits, "sequence " + std::to_string(i));
  }
}

/// Keeps the states that a forward pass of one step shows.
struct Recorder final : HiddenStateSink {
  std::vector<std::vector<float>> states;
  void entering(std::size_t, const LayerRows& rows) override { add(rows); }
  void layer_output(std::size_t, LayerIndex, const LayerRows& rows) override { add(rows); }
  void add(const LayerRows& rows) { states.emplace_back(rows.hidden.begin(), rows.hidden.end()); }
};

// What routes that begin alike share is computed once: from any layer on, the states entering it
// give what the whole route gives.
TEST_P(EngineInvarianceTest, GoingOnFromTheStatesThatEnterALayerChangesNothing) {
  ThreadTeam team(2);
  CpuModel shared = model(team);
  const std::int32_t depth = shared.config().depth();
  const std::vector<TokenId> all = tokens(3, 90);
  Sequence prompt(shared);
  prompt.prompt(std::span(all).first(20), 20);
  const std::span<const TokenId> rows = std::span(all).subspan(20);
  const RouteSelector route(Route::uniform(std::max(depth - 1, 1), depth));
  const auto pass = [&](std::optional<EnteringStates> entering, Recorder& seen) {
    const auto cache = prompt.cache().fork();
    const SequenceStep step{.cache = cache.get(),
                            .tokens = rows,
                            .role = RowRole::routed,
                            .selector = &route,
                            .entering = entering,
                            .logits = LogitRows::all};
    ForwardOutput output;
    shared.forward(std::span(&step, 1), output, &seen);
    const auto logits = output.logits.span().first(output.logit_rows * output.vocabulary);
    return std::vector<float>(logits.begin(), logits.end());
  };
  Recorder whole;
  const std::vector<float> expected = pass(std::nullopt, whole);
  const auto same_bits = [](std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
  };
  for (std::int32_t layer = 0; layer <= depth; ++layer) {
    Recorder rest;
    const std::vector<float>& states = whole.states[static_cast<std::size_t>(layer)];
    EXPECT_TRUE(same_bits(pass(EnteringStates{LayerIndex{layer}, states}, rest), expected));
    ASSERT_EQ(rest.states.size(), static_cast<std::size_t>(depth - layer) + 1);
    EXPECT_TRUE(same_bits(rest.states.back(), whole.states.back())) << layer;
  }
  ForwardOutput output;
  shared.head(whole.states.back(), output);
  EXPECT_TRUE(same_bits(output.logits.span().first(expected.size()), expected));
}

// What most people have on disk: the mixture Q4_K_M, with random weights, at a width of 2,048.
std::filesystem::path write_wide_model(const TestFolder& folder) {
  constexpr std::size_t width = 2048;
  constexpr std::size_t kv_width = 256;
  constexpr std::size_t ffn = 2816;  // a multiple of 256, as the super-blocks want
  constexpr std::size_t vocabulary = 40;
  GgufTestWriter writer;
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < vocabulary; ++i) tokens.push_back(fmt::format("{:c}", 'A' + i));
  writer.add_string("general.architecture", "llama")
      .add_number("llama.block_count", std::uint32_t{2})
      .add_number("llama.context_length", std::uint32_t{128})
      .add_number("llama.embedding_length", std::uint32_t{width})
      .add_number("llama.feed_forward_length", std::uint32_t{ffn})
      .add_number("llama.attention.head_count", std::uint32_t{32})
      .add_number("llama.attention.head_count_kv", std::uint32_t{4})
      .add_number("llama.attention.layer_norm_rms_epsilon", 1e-5F)
      .add_number("llama.rope.dimension_count", std::uint32_t{64})
      .add_string("tokenizer.ggml.model", "gpt2")
      .add_string("tokenizer.ggml.pre", "smollm")
      .add_strings("tokenizer.ggml.tokens", tokens)
      .add_numbers("tokenizer.ggml.token_type", std::vector<std::int32_t>(vocabulary, 1))
      .add_strings("tokenizer.ggml.merges", {});
  RandomStream random({.seed = 11});
  const auto matrix = [&](const std::string& name, TensorType type, std::size_t rows,
                          std::size_t columns) {
    const std::vector<std::size_t> shape{rows, columns};
    std::vector<std::byte> bytes(tensor_bytes(type, shape));
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(256));
    const auto put_half = [&](std::size_t at, float value) {
      const std::uint16_t bits = half_from_float(value);
      std::memcpy(&bytes[at], &bits, sizeof(bits));
    };
    // Weights of about 0.02: Q4_K's are scale (0 to 63) x q (0 to 15) - minimum, whose means must
    // meet; Q6_K's are scale (-128 to 127) x q (-32 to 31).
    for (std::size_t at = 0; at < bytes.size(); at += info(type).block_bytes) {
      if (type == TensorType::Q4_K) {
        put_half(at, 1.0e-4F);
        put_half(at + 2, 7.5e-4F);
      } else {
        put_half(at + 208, 2.0e-5F);
      }
    }
    writer.add_tensor(name, type, shape, bytes);
  };
  const std::vector<float> ones(width, 1.0F);
  matrix("token_embd.weight", TensorType::Q4_K, vocabulary, width);
  writer.add_tensor("output_norm.weight", {width}, ones);
  matrix("output.weight", TensorType::Q6_K, vocabulary, width);
  for (int layer = 0; layer < 2; ++layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    const TensorType more = layer == 0 ? TensorType::Q6_K : TensorType::Q4_K;
    writer.add_tensor(block + "attn_norm.weight", {width}, ones);
    writer.add_tensor(block + "ffn_norm.weight", {width}, ones);
    matrix(block + "attn_q.weight", TensorType::Q4_K, width, width);
    matrix(block + "attn_k.weight", TensorType::Q4_K, kv_width, width);
    matrix(block + "attn_v.weight", more, kv_width, width);
    matrix(block + "attn_output.weight", TensorType::Q4_K, width, width);
    matrix(block + "ffn_gate.weight", TensorType::Q4_K, ffn, width);
    matrix(block + "ffn_up.weight", TensorType::Q4_K, ffn, width);
    matrix(block + "ffn_down.weight", more, width, ffn);
  }
  return folder.write("wide.gguf", writer.bytes());
}

TEST(EngineWideTest, AWideModelOfKTypesRunsFastAsItDoesExactly) {
  const TestFolder folder;
  const std::filesystem::path path = write_wide_model(folder);
  ThreadTeam team(2);
  std::vector<TokenId> tokens;
  for (std::int32_t i = 0; i < 33; ++i) tokens.emplace_back(i * 7 % 40);
  for (const Kernels* const kernels : available_kernels()) {
    if (kernels->name == "portable") continue;  // takes long, and EngineInvarianceTest has it
    CpuModel exact(ModelFiles::open(path), Precision::exact, *kernels, team);
    CpuModel fast(ModelFiles::open(path), Precision::fast, *kernels, team);
    Sequence reference(exact);
    Sequence whole(fast);
    Sequence in_chunks(fast);
    reference.prompt(tokens, tokens.size());
    whole.prompt(tokens, tokens.size());
    in_chunks.prompt(tokens, 5);
    expect_same_bits(whole.logits(), in_chunks.logits(), std::string(kernels->name));
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      EXPECT_GT(correlation(reference.logits()[t], whole.logits()[t]), 0.995)
          << kernels->name << " " << t;
    }
  }
}

class EngineTest : public testing::Test {
 protected:
  ThreadTeam team_{2};
  CpuModel model_{ModelFiles::open(golden() / "tiny" / "rope-linear"), Precision::fast, kernels(),
                  team_};
  std::vector<TokenId> tokens_{TokenId{5}, TokenId{6}, TokenId{7}, TokenId{8}};
};

TEST_F(EngineTest, RunningALayerThatAnEarlierPositionSkippedIsAnError) {
  Sequence sequence(model_);
  sequence.prompt(tokens_, 4);
  const RouteSelector shallow(Route::first(2, 4));
  const RouteSelector deep(Route::full(4));
  sequence.routed(std::span(tokens_).first(1), shallow);
  EXPECT_EQ(sequence.cache().length(), 5U);
  EXPECT_EQ(sequence.cache().valid_length(LayerIndex{1}), 5U);
  EXPECT_EQ(sequence.cache().valid_length(LayerIndex{2}), 4U);
  EXPECT_THROW(sequence.routed(std::span(tokens_).first(1), deep), std::logic_error);
  // Nothing happened to the cache: the shallow route goes on.
  EXPECT_EQ(sequence.cache().length(), 5U);
  EXPECT_EQ(sequence.cache().valid_length(LayerIndex{0}), 5U);
  sequence.routed(std::span(tokens_).first(1), shallow);
  // A conversation that goes on truncates the routed answer and prefills it at full depth.
  sequence.truncate(4);
  EXPECT_EQ(sequence.cache().valid_length(LayerIndex{0}), 4U);
  sequence.prompt(tokens_, 4);
  EXPECT_EQ(sequence.cache().valid_length(LayerIndex{3}), 8U);
}

TEST_F(EngineTest, RefusesTokensAndLengthsOutOfRange) {
  EXPECT_THROW((void)model_.new_cache(0), InputError);
  EXPECT_THROW((void)model_.new_cache(model_.config().context + 1), InputError);
  auto cache = model_.new_cache(3);
  ForwardOutput output;
  SequenceStep step{.cache = cache.get(), .tokens = tokens_};
  EXPECT_THROW(model_.forward(std::span(&step, 1), output, nullptr), InputError);
  const std::vector bad{TokenId{384}};
  step.tokens = bad;
  EXPECT_THROW(model_.forward(std::span(&step, 1), output, nullptr), InputError);
  const std::vector negative{TokenId{-1}};
  step.tokens = negative;
  EXPECT_THROW(model_.forward(std::span(&step, 1), output, nullptr), InputError);
  EXPECT_EQ(cache->length(), 0U);
}

TEST_F(EngineTest, SkippedLayersTakeNoCacheMemory) {
  auto cache = model_.new_cache(128);
  const RouteSelector one(Route::first(1, 4));
  const SequenceStep step{.cache = cache.get(),
                          .tokens = tokens_,
                          .role = RowRole::routed,
                          .selector = &one,
                          .logits = LogitRows::none};
  ForwardOutput output;
  model_.forward(std::span(&step, 1), output, nullptr);
  EXPECT_EQ(output.logit_rows, 0U);
  const CacheLayout layout(model_.config(), kernels().fast_cache);
  EXPECT_EQ(cache->bytes(), layout.block_bytes());
}

TEST_F(EngineTest, FinalNormIsRmsNorm) {
  const std::size_t width = model_.config().width;
  std::vector<float> states(3 * width);
  for (std::size_t i = 0; i < states.size(); ++i) states[i] = std::sin(static_cast<float>(i));
  std::vector<float> normed(states.size());
  model_.final_norm(states, normed);
  std::vector<float> weights(width);
  const TensorView& norm = model_.files().tensors.output_norm->weight.value();
  dequantize(norm.type, norm.bytes, weights);
  for (std::size_t r = 0; r < 3; ++r) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += std::pow(states[r * width + i], 2);
    const double rms =
        std::sqrt(squares / static_cast<double>(width) + model_.config().norm.epsilon);
    for (std::size_t i = 0; i < width; ++i) {
      ASSERT_NEAR(normed[r * width + i], states[r * width + i] / rms * weights[i], 1e-5);
    }
  }
  EXPECT_THROW(model_.final_norm(states, std::span(normed).first(width)), std::invalid_argument);
}

TEST_F(EngineTest, EnteringStatesOfAWrongShapeAreADefect) {
  auto cache = model_.new_cache(8);
  const std::vector<float> states(model_.config().width);
  SequenceStep step{.cache = cache.get(),
                    .tokens = std::span(tokens_).first(2),
                    .entering = EnteringStates{LayerIndex{1}, states}};
  ForwardOutput output;
  EXPECT_THROW(model_.forward(std::span(&step, 1), output, nullptr), std::logic_error);
  step.tokens = std::span(tokens_).first(1);
  step.entering->layer = LayerIndex{5};
  EXPECT_THROW(model_.forward(std::span(&step, 1), output, nullptr), std::logic_error);
  EXPECT_EQ(cache->length(), 0U);
}

TEST_F(EngineTest, TheSinkSeesEveryLayerAndCarriedStates) {
  auto cache = model_.new_cache(128);
  const RouteSelector route(Route::of(std::vector{LayerIndex{0}, LayerIndex{2}}, 4));
  const SequenceStep step{
      .cache = cache.get(), .tokens = tokens_, .role = RowRole::routed, .selector = &route};
  ForwardOutput output;
  Recorder recorder;
  model_.forward(std::span(&step, 1), output, &recorder);
  ASSERT_EQ(recorder.states.size(), 5U);
  EXPECT_NE(recorder.states[0], recorder.states[1]);
  EXPECT_EQ(recorder.states[1], recorder.states[2]);
  EXPECT_NE(recorder.states[2], recorder.states[3]);
  EXPECT_EQ(recorder.states[3], recorder.states[4]);
}

}  // namespace
}  // namespace fathom
