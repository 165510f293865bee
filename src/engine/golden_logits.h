// For tests of what implements LanguageModel: the small models in golden/, and what transformers
// computes from them. Used where torch's headers are, so without fmt.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "depth/selector.h"
#include "engine/compare_logits.h"
#include "model/language_model.h"

namespace fathom {

inline std::filesystem::path golden_folder() {
  return std::filesystem::path(FATHOM_SOURCE_DIR) / "golden";
}
inline std::filesystem::path golden_families() { return golden_folder() / "families"; }

inline nlohmann::json read_golden(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

inline std::vector<TokenId> golden_tokens(const nlohmann::json& ids) {
  std::vector<TokenId> tokens;
  for (const auto& id : ids) tokens.emplace_back(id.get<std::int32_t>());
  return tokens;
}

/// Logits of some tokens of the vocabulary.
inline void expect_sampled_logits(const std::vector<float>& logits,
                                  const std::vector<std::size_t>& sample,
                                  const nlohmann::json& expected, double tolerance,
                                  const std::string& what) {
  for (std::size_t i = 0; i < sample.size(); ++i) {
    ASSERT_NEAR(logits[sample[i]], expected[i].get<double>(), tolerance)
        << what << ", id " << sample[i];
  }
}

/// Logits of the whole vocabulary.
inline void expect_all_logits(const std::vector<float>& logits, const nlohmann::json& expected,
                              double tolerance, const std::string& what) {
  ASSERT_EQ(expected.size(), logits.size()) << what;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    ASSERT_NEAR(logits[i], expected[i].get<double>(), tolerance) << what << ", id " << i;
  }
}

/// Runs tokens and appends their logits; through all layers without a selector.
inline void append_steps(LanguageModel& model, KvCache& cache, std::span<const TokenId> tokens,
                         const Selector* selector, SequenceLogits& logits) {
  const SequenceStep step{.cache = &cache,
                          .tokens = tokens,
                          .role = selector == nullptr ? RowRole::prompt : RowRole::routed,
                          .selector = selector,
                          .logits = LogitRows::all};
  ForwardOutput output;
  model.forward(std::span(&step, 1), output, nullptr);
  for (std::size_t r = 0; r < output.logit_rows; ++r) {
    const auto row = output.logit_row(r).values;
    logits.emplace_back(row.begin(), row.end());
  }
}

// ---- golden/families ----

/// The names of all models there, and of those that have every kind of file.
inline std::vector<std::string> golden_family_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_families())) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}
inline std::vector<std::string> golden_families_with_gguf() {
  std::vector<std::string> names = golden_family_names();
  std::erase_if(names, [](const std::string& name) {
    return !std::filesystem::exists(golden_families() / name / "model.gguf");
  });
  return names;
}

inline std::string golden_test_name(const testing::TestParamInfo<std::string>& instance) {
  std::string name = instance.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// What a model's expected.json holds.
struct GoldenFamily {
  std::vector<TokenId> ids;
  std::size_t prompt = 0;  // how many of the ids
  std::vector<std::size_t> sample;
  nlohmann::json json;

  explicit GoldenFamily(const std::string& name)
      : json(read_golden(golden_families() / name / "expected.json")) {
    ids = golden_tokens(json["ids"]);
    prompt = json["prompt"].get<std::size_t>();
    sample = json["vocabulary_sample"].get<std::vector<std::size_t>>();
  }
};

inline RouteSelector selector_of(const nlohmann::json& layers, std::int32_t depth) {
  std::vector<LayerIndex> indices;
  for (const auto& layer : layers) indices.push_back(LayerIndex{layer.get<std::int32_t>() - 1});
  return RouteSelector(Route::of(indices, depth));
}

/// The logits of all tokens: the prompt in chunks, then one token at a time on a route.
inline SequenceLogits run_golden(LanguageModel& model, const GoldenFamily& golden,
                                 std::size_t chunk, const Selector& route) {
  const auto cache = model.new_cache(model.config().context);
  const std::span<const TokenId> ids(golden.ids);
  SequenceLogits logits;
  for (std::size_t begin = 0; begin < golden.prompt; begin += chunk) {
    append_steps(model, *cache, ids.subspan(begin, std::min(chunk, golden.prompt - begin)), nullptr,
                 logits);
  }
  for (std::size_t t = golden.prompt; t < ids.size(); ++t) {
    append_steps(model, *cache, ids.subspan(t, 1), &route, logits);
  }
  return logits;
}

/// Holds a float32 model to transformers' logits at full depth and on routes: these are float32,
/// printed to 5 decimals, and reach 13.
inline void expect_golden_logits(LanguageModel& model, const GoldenFamily& golden,
                                 std::size_t chunk, const std::string& what) {
  constexpr double tolerance = 1e-4;
  const std::int32_t depth = model.config().depth();
  const RouteSelector full(Route::full(depth));
  const SequenceLogits logits = run_golden(model, golden, chunk, full);
  ASSERT_EQ(logits.size(), golden.ids.size());
  for (std::size_t t = 0; t < logits.size(); ++t) {
    expect_sampled_logits(logits[t], golden.sample, golden.json["full"][t], tolerance,
                          what + ", position " + std::to_string(t));
  }
  expect_all_logits(logits.back(), golden.json["last"], tolerance, what);
  for (const auto& route : golden.json["routes"]) {
    const SequenceLogits routed =
        run_golden(model, golden, chunk, selector_of(route["layers"], depth));
    for (std::size_t t = golden.prompt; t < routed.size(); ++t) {
      expect_sampled_logits(
          routed[t], golden.sample, route["logits"][t - golden.prompt], tolerance,
          what + ", " + route["name"].get<std::string>() + ", position " + std::to_string(t));
    }
  }
}

// ---- golden/tiny and golden/tiny_gguf ----

struct GoldenTinyModel {
  std::string name;  // of the test
  std::filesystem::path model, expected;
};

inline void PrintTo(const GoldenTinyModel& model, std::ostream* out) {  // NOLINT
  *out << model.name;
}

inline std::vector<GoldenTinyModel> golden_tiny_models() {
  std::vector<GoldenTinyModel> models;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder() / "tiny")) {
    models.push_back({entry.path().filename(), entry.path(), entry.path() / "expected.json"});
  }
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder() / "tiny_gguf")) {
    if (entry.path().extension() != ".gguf") continue;
    const std::string stem = entry.path().stem();
    models.push_back(
        {"gguf_" + stem, entry.path(), entry.path().parent_path() / (stem + ".expected.json")});
  }
  for (GoldenTinyModel& model : models) {
    std::replace(model.name.begin(), model.name.end(), '-', '_');
  }
  std::sort(models.begin(), models.end(),
            [](const GoldenTinyModel& a, const GoldenTinyModel& b) { return a.name < b.name; });
  return models;
}

/// Holds a float32 model to transformers' logits, printed to 5 decimals. Two float32
/// implementations that add in different orders agree to some units in the last place of the
/// largest terms: here logits of up to about 30.
inline void expect_golden_logits(LanguageModel& model, const GoldenTinyModel& golden,
                                 const std::string& what) {
  constexpr double tolerance = 2e-4;
  const nlohmann::json expected = read_golden(golden.expected);
  const auto sample = expected["vocabulary_sample"].get<std::vector<std::size_t>>();
  for (const auto& prompt : expected["prompts"]) {
    const std::vector<TokenId> tokens = golden_tokens(prompt["ids"]);
    const auto cache = model.new_cache(tokens.size());
    SequenceLogits logits;
    append_steps(model, *cache, tokens, nullptr, logits);
    ASSERT_EQ(logits.size(), tokens.size());
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      expect_sampled_logits(logits[t], sample, prompt["sample"][t], tolerance,
                            what + ", position " + std::to_string(t));
    }
    expect_all_logits(logits.back(), prompt["last"], tolerance, what);
  }
}

}  // namespace fathom
