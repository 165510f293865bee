// Every family against transformers (golden/families.py), from every kind of file.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "depth/selector.h"
#include "engine/compare_logits.h"
#include "engine/cpu_model.h"
#include "engine/golden_logits.h"
#include "formats/test_folder.h"
#include "model/gguf_export.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Expected = GoldenFamily;
using Rows = SequenceLogits;

fs::path families() { return golden_families(); }

class FamilyTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, FamilyTest, testing::ValuesIn(golden_family_names()),
                         golden_test_name);

/// The families, each from all kinds of file.
class FamilyFilesTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, FamilyFilesTest, testing::ValuesIn(golden_families_with_gguf()),
                         golden_test_name);

// A folder converted to float32 is the same model, to the bit; so is one quantised at load and the
// file of the same type. What GGUF files cannot say is refused.
TEST_P(FamilyTest, ConvertedIsTheSameModel) {
  const fs::path source = families() / GetParam();
  const TestFolder folder;
  ThreadTeam team(2);
  const Expected expected(GetParam());
  for (const TensorType type : {TensorType::F32, TensorType::Q8_0, TensorType::Q4_1}) {
    const fs::path out = folder.path() / (std::string(info(type).name) + ".gguf");
    try {
      (void)GgufExport::open(source, type).write(out, team, [](std::uint64_t) { return true; });
    } catch (const InputError& error) {
      const bool refused = GetParam() == "smollm3-window" ||     // its layers without rotation
                           GetParam() == "mistral-no-window" ||  // its GELU
                           GetParam() == "gpt2-scaled";          // the scales of its layers
      EXPECT_TRUE(refused) << error.what();
      return;
    }
    ModelFiles files = ModelFiles::open(source);
    if (type != TensorType::F32) files.convert_weights(type);
    CpuModel original(std::move(files), Precision::exact, kernels(), team);
    CpuModel converted(ModelFiles::open(out), Precision::exact, kernels(), team);
    const RouteSelector full(Route::full(original.config().depth()));
    expect_same_bits(run_golden(original, expected, 5, full),
                     run_golden(converted, expected, 5, full), std::string(info(type).name));
  }
}

TEST(Families, AreAllThere) {
  std::vector<ModelFamily> found;
  for (const std::string& name : golden_families_with_gguf()) {
    found.push_back(ModelFiles::open(families() / name).config.family);
  }
  EXPECT_THAT(found, testing::UnorderedElementsAre(ModelFamily::mistral, ModelFamily::qwen2,
                                                   ModelFamily::qwen3, ModelFamily::smollm3,
                                                   ModelFamily::gemma3, ModelFamily::opt,
                                                   ModelFamily::opt, ModelFamily::gpt2));
}

TEST_P(FamilyTest, ExactLogitsEqualTransformersAtFullDepthAndOnRoutes) {
  const Expected expected(GetParam());
  ThreadTeam team(2);
  for (const Kernels* const kernels : available_kernels()) {
    CpuModel model(ModelFiles::open(families() / GetParam()), Precision::exact, *kernels, team);
    expect_golden_logits(model, expected, expected.prompt, std::string(kernels->name));
  }
}

TEST_P(FamilyTest, ChunksThreadsAndCompanyChangeNothing) {
  const Expected expected(GetParam());
  for (const Kernels* const kernels : available_kernels()) {
    for (const Precision precision : {Precision::exact, Precision::fast}) {
      ThreadTeam one(1);
      CpuModel model(ModelFiles::open(families() / GetParam()), precision, *kernels, one);
      const RouteSelector route(Route::uniform(2, model.config().depth()));
      const Rows reference = run_golden(model, expected, expected.prompt, route);
      ThreadTeam two(2);
      CpuModel other(ModelFiles::open(families() / GetParam()), precision, *kernels, two);
      for (const std::size_t chunk : {1U, 7U}) {
        expect_same_bits(reference, run_golden(other, expected, chunk, route),
                         fmt::format("{}, chunks of {}", kernels->name, chunk));
      }
      // Beside two sequences at other positions and on other routes.
      const std::span<const TokenId> ids(expected.ids);
      const RouteSelector full(Route::full(model.config().depth()));
      const RouteSelector first(Route::first(1, model.config().depth()));
      std::array caches{other.new_cache(64), other.new_cache(64), other.new_cache(64)};
      Rows together;
      Rows unused;
      append_steps(other, *caches[1], ids.subspan(3, 17), nullptr, unused);
      for (std::size_t t = 0; t < ids.size(); t += t == 0 ? expected.prompt : 1) {
        const bool prompt = t == 0;
        const auto step = [&](std::size_t s, std::size_t begin, std::size_t count,
                              const Selector& selector) {
          return SequenceStep{.cache = caches.at(s).get(),
                              .tokens = ids.subspan(begin, count),
                              .role = prompt ? RowRole::prompt : RowRole::routed,
                              .selector = &selector,
                              .logits = LogitRows::all};
        };
        const std::array steps{step(1, 0, prompt ? 9 : 1, full),
                               step(0, t, prompt ? expected.prompt : 1, route),
                               step(2, 5, prompt ? 2 : 1, first)};
        ForwardOutput output;
        other.forward(steps, output, nullptr);
        const std::size_t before = steps[0].tokens.size();
        for (std::size_t r = 0; r < steps[1].tokens.size(); ++r) {
          const auto row = output.logit_row(before + r).values;
          together.emplace_back(row.begin(), row.end());
        }
      }
      expect_same_bits(reference, together, fmt::format("{}, in a batch", kernels->name));
    }
  }
}

// Studies begin passes in the middle and ask for the head by itself.
TEST_P(FamilyTest, EnteringStatesAndTheHeadGiveTheSameLogits) {
  class LastStates final : public HiddenStateSink {
   public:
    void entering(std::size_t /*step*/, const LayerRows& /*rows*/) override {}
    void layer_output(std::size_t /*step*/, LayerIndex layer, const LayerRows& rows) override {
      auto& states = layer.value == 1 ? second : last;
      states.assign(rows.hidden.begin(), rows.hidden.end());
    }
    std::vector<float> second, last;
  };
  const Expected expected(GetParam());
  ThreadTeam team(2);
  CpuModel model(ModelFiles::open(families() / GetParam()), Precision::fast, kernels(), team);
  const auto cache = model.new_cache(64);
  SequenceStep step{.cache = cache.get(), .tokens = expected.ids, .logits = LogitRows::all};
  ForwardOutput whole;
  LastStates states;
  model.forward(std::span(&step, 1), whole, &states);
  const auto bytes = whole.logit_rows * whole.vocabulary * sizeof(float);

  ForwardOutput by_head;
  model.head(states.last, by_head);
  ASSERT_EQ(by_head.logit_rows, whole.logit_rows);
  EXPECT_EQ(0, std::memcmp(by_head.logits.data(), whole.logits.data(), bytes));

  const auto other = model.new_cache(64);
  step.cache = other.get();
  step.entering = EnteringStates{.layer = LayerIndex{2}, .hidden = states.second};
  ForwardOutput entered;
  model.forward(std::span(&step, 1), entered, nullptr);
  EXPECT_EQ(0, std::memcmp(entered.logits.data(), whole.logits.data(), bytes));
}

// A model's folder with the weights in the checkpoint only.
fs::path checkpoint_folder(const std::string& name, const TestFolder& folder) {
  for (const char* const file : {"config.json", "tokenizer.json", "pytorch_model.bin"}) {
    fs::copy_file(families() / name / file, folder.path() / file);
  }
  return folder.path();
}

TEST_P(FamilyFilesTest, EveryFileGivesTheSameLogits) {
  const Expected expected(GetParam());
  ThreadTeam team(1);
  const TestFolder folder;
  const std::array others{checkpoint_folder(GetParam(), folder),
                          families() / GetParam() / "model.gguf"};
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    CpuModel model(ModelFiles::open(families() / GetParam()), precision, kernels(), team);
    const RouteSelector route(Route::uniform(3, model.config().depth()));
    const Rows reference = run_golden(model, expected, expected.prompt, route);
    for (const fs::path& path : others) {
      CpuModel other(ModelFiles::open(path), precision, kernels(), team);
      EXPECT_EQ(model_sizes(other.files().tensors).total().parameters,
                model_sizes(model.files().tensors).total().parameters);
      expect_same_bits(reference, run_golden(other, expected, expected.prompt, route),
                       path.string());
    }
  }
}

// In 8 bits and in float16, `fast` follows `exact`. These random models amplify errors, so the test
// is a coarse one: it finds a wrong layout or scale, not a rounding.
TEST_P(FamilyFilesTest, FastLogitsFollowExactOnes) {
  const Expected expected(GetParam());
  ThreadTeam team(1);
  for (const char* const file : {"model.gguf", "model.q8_0.gguf"}) {
    for (const Kernels* const kernels : available_kernels()) {
      const fs::path path = families() / GetParam() / file;
      CpuModel exact(ModelFiles::open(path), Precision::exact, *kernels, team);
      CpuModel fast(ModelFiles::open(path), Precision::fast, *kernels, team);
      const RouteSelector full(Route::full(exact.config().depth()));
      const Rows a = run_golden(exact, expected, expected.prompt, full);
      const Rows b = run_golden(fast, expected, expected.prompt, full);
      for (std::size_t t = 0; t < a.size(); ++t) {
        EXPECT_GT(correlation(a[t], b[t]), 0.98) << kernels->name << ", " << file << ", " << t;
      }
    }
  }
}

TEST(Families, MissingTensorsAreNamed) {
  const auto error_without = [](const std::string& name, std::string_view change,
                                std::string_view to) {
    const TestFolder folder;
    for (const char* const file : {"tokenizer.json", "model.safetensors"}) {
      fs::copy_file(families() / name / file, folder.path() / file);
    }
    std::ifstream in(families() / name / "config.json");
    std::string config{std::istreambuf_iterator<char>(in), {}};
    const std::size_t at = config.find(change);
    EXPECT_NE(at, std::string::npos);
    config.replace(at, change.size(), to);
    folder.write("config.json", config);
    return error_of<FileError>([&] { (void)ModelFiles::open(folder.path()); });
  };
  using testing::HasSubstr;
  EXPECT_THAT(error_without("opt-bare", "\"enable_bias\": false", "\"enable_bias\": true"),
              HasSubstr("model.decoder.layers.0.self_attn.q_proj.bias"));
  EXPECT_THAT(error_without("opt-bare", "\"layer_norm_elementwise_affine\": false",
                            "\"layer_norm_elementwise_affine\": true"),
              HasSubstr("model.decoder.final_layer_norm.weight"));
  EXPECT_THAT(error_without("opt-no-final-norm", "\"_remove_final_layer_norm\": true",
                            "\"_remove_final_layer_norm\": false"),
              HasSubstr("model.decoder.final_layer_norm.weight"));
  EXPECT_THAT(
      error_without("opt", "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 65"),
      HasSubstr("model.decoder.embed_positions.weight"));
  EXPECT_THAT(
      error_without("opt", "\"ffn_dim\": 64", "\"ffn_dim\": 64, \"word_embed_proj_dim\": 8"),
      HasSubstr("model.decoder.embed_tokens.weight"));
  EXPECT_THAT(error_without("gpt2", "\"n_inner\": 64", "\"n_inner\": 65"),
              HasSubstr("h.0.mlp.c_fc.weight"));
  EXPECT_THAT(error_without("mistral-no-window", "mistral", "qwen2"),
              HasSubstr("model.layers.0.self_attn.q_proj.bias"));
  EXPECT_THAT(error_without("qwen2", "qwen2", "qwen3"), HasSubstr("self_attn.q_proj.weight"));
}

}  // namespace
}  // namespace fathom
