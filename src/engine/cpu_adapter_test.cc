// Adapters against transformers with PEFT (golden/adapters.py), and what they leave alone.
#include "engine/cpu_adapter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "depth/selector.h"
#include "engine/compare_logits.h"
#include "engine/cpu_model.h"
#include "engine/golden_logits.h"
#include "formats/test_folder.h"
#include "model/gguf_export.h"
#include "model/lora_adapter.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Rows = SequenceLogits;

fs::path adapters() { return golden_folder() / "adapters"; }

std::vector<std::string> adapter_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(adapters())) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// One of golden/adapters's adapters, with what transformers and PEFT compute with it.
struct Golden {
  explicit Golden(const std::string& name)
      : path(adapters() / name), json(read_golden(path / "expected.json")) {
    model = golden_folder() / json["model"].get<std::string>();
    ids = golden_tokens(json["ids"]);
    prompt = json["prompt"].get<std::size_t>();
    sample = json["vocabulary_sample"].get<std::vector<std::size_t>>();
  }

  [[nodiscard]] LoraAdapter open(const ModelConfig& config, AdapterRows rows) const {
    LoraAdapter adapter = LoraAdapter::open(path, config);
    adapter.settings.rows = rows;
    return adapter;
  }
  [[nodiscard]] RouteSelector route(const ModelConfig& config) const {
    return selector_of(json["route"]["layers"], config.depth());
  }

  fs::path path, model;
  nlohmann::json json;
  std::vector<TokenId> ids;
  std::size_t prompt = 0;
  std::vector<std::size_t> sample;
};

// The prompt in chunks, then one token at a time as the selector says.
Rows run(LanguageModel& model, const Golden& golden, const Selector& selector,
         std::size_t chunk = 64) {
  const auto cache = model.new_cache(golden.ids.size());
  const std::span<const TokenId> ids(golden.ids);
  Rows logits;
  for (std::size_t begin = 0; begin < golden.prompt; begin += chunk) {
    append_steps(model, *cache, ids.subspan(begin, std::min(chunk, golden.prompt - begin)), nullptr,
                 logits);
  }
  for (std::size_t t = golden.prompt; t < ids.size(); ++t) {
    append_steps(model, *cache, ids.subspan(t, 1), &selector, logits);
  }
  return logits;
}

Rows response_of(const Rows& rows, const Golden& golden) {
  return {rows.begin() + static_cast<std::ptrdiff_t>(golden.prompt), rows.end()};
}

// Tokens that leave after different layers, so that each owes what another runs.
class Alternating final : public Selector {
 public:
  explicit Alternating(std::int32_t depth) : depth_(depth) {}
  [[nodiscard]] const Route* fixed_route() const override { return nullptr; }
  [[nodiscard]] bool needs_margins(LayerIndex /*layer*/) const override { return false; }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override {
    for (std::size_t i = 0; i < rows.count; ++i) {
      const auto position = rows.first.value + static_cast<std::int32_t>(i);
      if (layer.value <= position % depth_) running.push_back(i);
    }
  }

 private:
  std::int32_t depth_;
};

class AdapterTest : public testing::TestWithParam<std::string> {
 protected:
  AdapterTest() : golden(GetParam()) {}

  // Logits reach 30 in the tiny Llama and 16 in the others; both sides are float32.
  [[nodiscard]] double tolerance() const { return GetParam() == "llama" ? 2e-4 : 1e-4; }

  void expect_rows(const Rows& rows, const nlohmann::json& expected,
                   const std::string& what) const {
    ASSERT_EQ(rows.size(), expected.size());
    for (std::size_t t = 0; t < rows.size(); ++t) {
      expect_sampled_logits(rows[t], golden.sample, expected[t], tolerance(),
                            fmt::format("{}, row {}", what, t));
    }
  }

  Golden golden;
};
INSTANTIATE_TEST_SUITE_P(All, AdapterTest, testing::ValuesIn(adapter_names()), golden_test_name);

TEST_P(AdapterTest, ExactLogitsEqualPeftsOnAllRowsAndOnRoutedOnes) {
  ThreadTeam team(2);
  for (const Kernels* const kernels : available_kernels()) {
    CpuModel model(ModelFiles::open(golden.model), Precision::exact, *kernels, team);
    const ModelConfig& config = model.config();
    const RouteSelector full(Route::full(config.depth()));
    const RouteSelector route = golden.route(config);
    const std::string what(kernels->name);
    const nlohmann::json& on_route = golden.json["route"];
    expect_rows(response_of(run(model, golden, route), golden), on_route["without"], what);
    model.set_adapter(golden.open(config, AdapterRows::all));
    expect_rows(run(model, golden, full), golden.json["full"], what + ", full");
    expect_rows(response_of(run(model, golden, route), golden), on_route["all"], what + ", all");
    model.set_adapter(golden.open(config, AdapterRows::routed));
    expect_rows(response_of(run(model, golden, route), golden), on_route["routed"],
                what + ", routed");
  }
}

// As FamilyFilesTest.FastLogitsFollowExactOnes, in the stored type and in 8 bits.
TEST_P(AdapterTest, FastLogitsFollowExactOnes) {
  ThreadTeam team(2);
  for (const bool quantized : {false, true}) {
    for (const Kernels* const kernels : available_kernels()) {
      const auto logits = [&](Precision precision) {
        ModelFiles files = ModelFiles::open(golden.model);
        if (quantized) files.convert_weights(TensorType::Q8_0);
        CpuModel model(std::move(files), precision, *kernels, team);
        model.set_adapter(golden.open(model.config(), AdapterRows::all));
        return run(model, golden, RouteSelector(Route::full(model.config().depth())));
      };
      const Rows exact = logits(Precision::exact);
      const Rows fast = logits(Precision::fast);
      for (std::size_t t = 0; t < exact.size(); ++t) {
        EXPECT_GT(correlation(exact[t], fast[t]), 0.98)
            << kernels->name << (quantized ? ", quantised, " : ", ") << t;
      }
    }
  }
}

// A routed adapter leaves prompts and full depth what they are, and a batch mixes rows with it and
// without.
TEST_P(AdapterTest, RowsKeepTheirBitsInAnyCompany) {
  for (const Kernels* const kernels : available_kernels()) {
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      ThreadTeam one(1);
      ThreadTeam two(2);
      const auto open = [&](ThreadTeam& team) {
        ModelFiles files = ModelFiles::open(golden.model);
        if (precision == Precision::fast) files.convert_weights(TensorType::Q8_0);
        return std::make_unique<CpuModel>(std::move(files), precision, *kernels, team);
      };
      const auto model = open(one);
      const ModelConfig& config = model->config();
      const RouteSelector full(Route::full(config.depth()));
      const RouteSelector route = golden.route(config);
      const Rows plain = run(*model, golden, full);
      model->set_adapter(golden.open(config, AdapterRows::routed));
      expect_same_bits(plain, run(*model, golden, full), "full depth");
      const Rows routed = run(*model, golden, route);
      expect_same_bits(
          Rows(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(golden.prompt)),
          Rows(routed.begin(), routed.begin() + static_cast<std::ptrdiff_t>(golden.prompt)),
          "the prompt");

      const auto other = open(two);
      other->set_adapter(golden.open(config, AdapterRows::routed));
      expect_same_bits(routed, run(*other, golden, route, 5), "in chunks");
      // Beside it a prompt, a sequence at full depth and others on the route: eleven rows a step.
      const std::span<const TokenId> ids(golden.ids);
      constexpr std::size_t beside = 4;
      std::vector<std::unique_ptr<KvCache>> caches;
      for (std::size_t s = 0; s < beside + 3; ++s) caches.push_back(other->new_cache(64));
      Rows together;
      Rows at_full_depth;
      for (std::size_t t = 0; t < ids.size(); t += t == 0 ? golden.prompt : 1) {
        const bool prompt = t == 0;
        const auto step = [&](std::size_t s, const Selector& selector) {
          return SequenceStep{.cache = caches.at(s).get(),
                              .tokens = ids.subspan(t, prompt ? golden.prompt : 1),
                              .role = prompt ? RowRole::prompt : RowRole::routed,
                              .selector = &selector,
                              .logits = LogitRows::all};
        };
        std::vector<SequenceStep> steps{step(0, route), step(1, full)};
        steps.push_back({.cache = caches[2].get(), .tokens = ids.first(prompt ? 1 : 4)});
        for (std::size_t s = 3; s < beside + 3; ++s) steps.push_back(step(s, route));
        ForwardOutput output;
        other->forward(steps, output, nullptr);
        const std::size_t count = steps[0].tokens.size();
        const auto take = [&](std::size_t first, Rows& rows) {
          for (std::size_t r = first; r < first + count; ++r) {
            const auto row = output.logit_row(r).values;
            rows.emplace_back(row.begin(), row.end());
          }
        };
        take(0, together);
        take(count, at_full_depth);
      }
      const std::string what = fmt::format("{}, in a batch", kernels->name);
      expect_same_bits(routed, together, what);
      expect_same_bits(plain, at_full_depth, what + ", full depth");
    }
  }
}

// What routed tokens owe is formed with the adapter, whenever that is and whoever needs it.
TEST_P(AdapterTest, WhatIsOwedHasTheAdapter) {
  ThreadTeam team(2);
  const auto logits = [&](const Kernels& kernels, std::size_t most_owed) {
    CpuModel model(ModelFiles::open(golden.model), Precision::fast, kernels, team);
    model.set_most_owed(most_owed);
    model.set_adapter(golden.open(model.config(), AdapterRows::routed));
    const Alternating selector(model.config().depth());
    const auto cache = model.new_cache(golden.ids.size());
    const std::span<const TokenId> ids(golden.ids);
    Rows rows;
    append_steps(model, *cache, ids.first(golden.prompt), nullptr, rows);
    for (std::size_t t = golden.prompt; t + 1 < ids.size(); ++t) {
      append_steps(model, *cache, ids.subspan(t, 1), &selector, rows);
    }
    // A prompt token, which the adapter leaves alone, makes all layers pay.
    append_steps(model, *cache, ids.last(1), nullptr, rows);
    return rows;
  };
  for (const Kernels* const kernels : available_kernels()) {
    expect_same_bits(logits(*kernels, 1), logits(*kernels, 64), std::string(kernels->name));
  }
}

// Merged into a GGUF file the adapter acts as it does beside the weights of the folder.
TEST_P(AdapterTest, MergedIsTheSameModel) {
  ThreadTeam team(2);
  const TestFolder folder;
  CpuModel model(ModelFiles::open(golden.model), Precision::exact, kernels(), team);
  const ModelConfig& config = model.config();
  const LoraAdapter adapter = golden.open(config, AdapterRows::all);
  const RouteSelector full(Route::full(config.depth()));
  const fs::path plain = folder.path() / "plain.gguf";
  const fs::path merged = folder.path() / "merged.gguf";
  const fs::path again = folder.path() / "again.gguf";
  const auto go_on = [](std::uint64_t) { return true; };
  (void)GgufExport::open(golden.model, TensorType::F32).write(plain, team, go_on);
  (void)GgufExport::open_merged(golden.model, TensorType::F32, adapter).write(merged, team, go_on);
  // Whose rows may pair otherwise.
  (void)GgufExport::open_merged(plain, TensorType::F32, adapter).write(again, team, go_on);
  for (const fs::path& file : {merged, again}) {
    CpuModel whole(ModelFiles::open(file), Precision::exact, kernels(), team);
    expect_rows(run(whole, golden, full), golden.json["full"], file.filename().string());
  }
  // What is owed has the adapter, too.
  const Alternating alternating(config.depth());
  CpuModel whole(ModelFiles::open(merged), Precision::exact, kernels(), team);
  const Rows owing = run(whole, golden, alternating);
  model.set_adapter(adapter);
  const Rows beside_owing = run(model, golden, alternating);
  for (std::size_t t = 0; t < owing.size(); ++t) {
    for (std::size_t i = 0; i < owing[t].size(); ++i) {
      ASSERT_NEAR(owing[t][i], beside_owing[t][i], tolerance()) << "row " << t << ", id " << i;
    }
  }
  // Beside the weights of a GGUF file.
  CpuModel beside(ModelFiles::open(plain), Precision::exact, kernels(), team);
  beside.set_adapter(adapter);
  expect_rows(run(beside, golden, full), golden.json["full"], "beside a GGUF file's weights");
}

TEST(CpuAdapter, CountsWhatATokenReads) {
  const Golden golden("gpt2");
  ThreadTeam team(1);
  ModelFiles files = ModelFiles::open(golden.model);
  files.convert_weights(TensorType::Q8_0);
  CpuModel model(std::move(files), Precision::fast, kernels(), team);
  EXPECT_TRUE(model.token_bytes().adapter.empty());
  model.set_adapter(golden.open(model.config(), AdapterRows::routed));
  const TokenBytes bytes = model.token_bytes();
  EXPECT_FALSE(bytes.adapter_at_full_depth);
  ASSERT_EQ(bytes.adapter.size(), model.config().layers);
  // Four As of one panel each in int8, of 32, 32, 32 and 64 inputs; Bs of rank 4 in float16, of 96,
  // 32, 64 and 32 outputs.
  EXPECT_EQ(bytes.adapter[0], (1 + 1 + 1 + 2) * 544U + (96 + 32 + 64 + 32) * 4 * 2U);
}

// How a change is shared out between A and B is the file's business.
TEST(CpuAdapter, FactorsOfVeryDifferentSizesKeepTheirDigits) {
  const Golden golden("gemma3");
  ThreadTeam team(1);
  CpuModel model(ModelFiles::open(golden.model), Precision::fast, kernels(), team);
  const RouteSelector full(Route::full(model.config().depth()));
  model.set_adapter(golden.open(model.config(), AdapterRows::all));
  const Rows expected = run(model, golden, full);
  for (const float factor : {0x1p-20F, 0x1p20F}) {
    LoraAdapter adapter = golden.open(model.config(), AdapterRows::all);
    std::vector<std::vector<float>> memory;
    for (LoraLayer& layer : adapter.layers) {
      for (auto& factors : layer.maps) {
        if (!factors) continue;
        auto& values = memory.emplace_back(factors->a.elements());
        std::memcpy(values.data(), factors->a.bytes.data(), factors->a.bytes.size());
        for (float& value : values) value *= factor;
        factors->a.bytes = std::as_bytes(std::span(values));
        factors->scale /= factor;
      }
    }
    model.set_adapter(adapter);
    expect_same_bits(expected, run(model, golden, full), fmt::format("{}", factor));
  }
}

// A change that float16 cannot hold is kept in float32.
TEST(CpuAdapter, HugeChangesStayFinite) {
  const Golden golden("gemma3");
  ThreadTeam team(1);
  CpuModel model(ModelFiles::open(golden.model), Precision::fast, kernels(), team);
  LoraAdapter adapter = golden.open(model.config(), AdapterRows::all);
  for (LoraLayer& layer : adapter.layers) {
    for (auto& factors : layer.maps) {
      if (factors) factors->scale = 1e20F;
    }
  }
  EXPECT_NO_THROW(model.set_adapter(adapter));
  EXPECT_GT(model.token_bytes().adapter[0], 0U);
}

}  // namespace
}  // namespace fathom
