#include "model/gguf_export.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/gguf.h"
#include "formats/gguf_test_writer.h"
#include "formats/test_folder.h"
#include "model/gguf_names.h"
#include "model/model_files.h"
#include "model/weight_types.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::filesystem::path golden() { return std::filesystem::path(FATHOM_SOURCE_DIR) / "golden"; }

bool always(std::uint64_t /*bytes*/) { return true; }

/// A copy of a tiny folder whose files can be changed.
class FolderCopy {
 public:
  explicit FolderCopy(const std::string& name) {
    std::filesystem::copy(golden() / "tiny" / name, path());
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "model"; }
  [[nodiscard]] std::filesystem::path out() const { return folder_.path() / "out.gguf"; }
  void set(const std::string& file, const std::string& key, const nlohmann::json& value) const {
    nlohmann::json json = nlohmann::json::object();
    if (std::ifstream stream(path() / file); stream) json = nlohmann::json::parse(stream);
    json[key] = value;
    std::ofstream(path() / file) << json;
  }
  [[nodiscard]] GgufFile converted(TensorType type) const {
    ThreadTeam team(1);
    (void)GgufExport::open(path(), type).write(out(), team, always);
    return GgufFile::open(out());
  }

 private:
  TestFolder folder_;
};

TEST(GgufExport, KeepsAllMetadataOfAGgufFileButItsType) {
  const TestFolder folder;
  ThreadTeam team(2);
  const std::filesystem::path source = folder.path() / "source.gguf";
  std::filesystem::copy(golden() / "tiny_gguf" / "q8_0.gguf", source);
  const GgufFile before = GgufFile::open(source);
  // With a key that nobody knows, of a type that others widen.
  GgufTestWriter writer;
  writer.set_alignment(64).add_number("general.alignment", std::uint32_t{64});
  writer.add_number("somebody.s_own", std::int8_t{-3});
  for (const GgufEntry& entry : before.entries()) {
    std::uint32_t type = 0;
    std::memcpy(&type, entry.value.data(), sizeof type);
    writer.add_raw(entry.key, type, entry.value.subspan(sizeof type));
  }
  for (const auto& [name, tensor] : before.tensors().tensors()) {
    writer.add_tensor(name, tensor.type, tensor.shape, tensor.bytes);
  }
  writer.write(folder.path() / "more.gguf");
  const GgufFile more = GgufFile::open(folder.path() / "more.gguf");

  ASSERT_TRUE(GgufExport::open(folder.path() / "more.gguf", TensorType::F16)
                  .write(folder.path() / "out.gguf", team, always));
  const GgufFile after = GgufFile::open(folder.path() / "out.gguf");
  ASSERT_EQ(after.entries().size(), more.entries().size());
  for (const auto& [key, value] : more.metadata()) {
    ASSERT_TRUE(after.metadata().contains(key)) << key;
    if (key != "general.file_type") {
      EXPECT_EQ(after.metadata().at(key), value) << key;
    }
  }
  EXPECT_EQ(after.require_unsigned("general.file_type"), 1U);
  EXPECT_EQ(after.entries()[1].value.size(), 4U + 1U);  // still one byte
  EXPECT_EQ(after.tensors().tensors().size(), more.tensors().tensors().size());
}

TEST(GgufExport, StopsWhereItIsToldToAndLeavesNothing) {
  const TestFolder folder;
  ThreadTeam team(1);
  const GgufExport model = GgufExport::open(golden() / "tiny" / "rope-linear", std::nullopt);
  std::uint64_t last = 0;
  EXPECT_FALSE(model.write(folder.path() / "out.gguf", team, [&](std::uint64_t bytes) {
    EXPECT_GT(bytes, last);
    last = bytes;
    return bytes < 100'000;
  }));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(GgufExport, NamesSpecialTokensAndEnds) {
  const FolderCopy folder("rope-llama3");
  folder.set("generation_config.json", "eos_token_id", {1, 5, 2, 7});
  const GgufExport model = GgufExport::open(folder.path(), TensorType::F32);
  EXPECT_THAT(model.notes(), ElementsAre(HasSubstr("4 tokens end an answer")));
  const GgufFile file = folder.converted(TensorType::F32);
  EXPECT_EQ(file.require_unsigned("tokenizer.ggml.bos_token_id"), 1U);
  EXPECT_EQ(file.require_unsigned("tokenizer.ggml.padding_token_id"), 0U);
  // First the one that tokenizer_config.json calls eos_token.
  EXPECT_EQ(file.require_unsigned("tokenizer.ggml.eos_token_id"), 2U);
  EXPECT_EQ(file.require_unsigned("tokenizer.ggml.eot_token_id"), 1U);
  EXPECT_EQ(file.require_unsigned("tokenizer.ggml.eom_token_id"), 5U);
  EXPECT_EQ(file.find_bool("tokenizer.ggml.add_bos_token"), false);
  EXPECT_EQ(ModelFiles::open(folder.out()).chat_template,
            ModelFiles::open(folder.path()).chat_template);
}

TEST(GgufExport, YarnIsReadBackAsItWas) {
  const FolderCopy folder("rope-yarn");
  EXPECT_THAT(GgufExport::open(folder.path(), TensorType::F32).notes(),
              ElementsAre(HasSubstr("--yarn-beta-fast 4 --yarn-beta-slow 0.5")));
  const nlohmann::json rope{{"rope_type", "yarn"},
                            {"factor", 4.0},
                            {"original_max_position_embeddings", 64},
                            {"attention_factor", 1.25},
                            {"rope_theta", 500.0}};
  folder.set("config.json", "rope_parameters", rope);
  EXPECT_THAT(GgufExport::open(folder.path(), TensorType::F32).notes(), IsEmpty());
  const ModelConfig before = ModelFiles::open(folder.path()).config;
  const ModelConfig after = read_config(folder.converted(TensorType::F32));
  EXPECT_EQ(rotary_frequencies(after.rotaries.front()),
            rotary_frequencies(before.rotaries.front()));
  EXPECT_FLOAT_EQ(rotary_attention_factor(after.rotaries.front()), 1.25F);
  nlohmann::json uncut = rope;
  uncut["truncate"] = false;
  folder.set("config.json", "rope_parameters", uncut);
  EXPECT_THAT(error_of<FileError>([&] { GgufExport::open(folder.path(), TensorType::F32); }),
              HasSubstr("truncate"));
}

TEST(GgufNames, PairingsAreEachOthersInverse) {
  using enum RotaryPairing;
  EXPECT_THAT(pairing_order(halves, halves, 2, 4), IsEmpty());
  EXPECT_THAT(pairing_order(halves, interleaved, 2, 4), ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  const auto there = pairing_order(halves, interleaved, 3, 10);
  const auto back = pairing_order(interleaved, halves, 3, 10);
  for (std::uint32_t i = 0; i < there.size(); ++i) EXPECT_EQ(there[back[i]], i);
}

TEST(WeightTypes, AreThoseOfTheTable) {
  using enum TensorUse;
  EXPECT_EQ(tensor_use("blk.0.attn_q.weight", 2, false), matrix);
  EXPECT_EQ(tensor_use("blk.0.attn_q.bias", 1, false), precise);
  EXPECT_EQ(tensor_use("blk.0.attn_q_norm.weight", 2, false), precise);
  EXPECT_EQ(tensor_use("position_embd.weight", 2, false), precise);
  EXPECT_EQ(tensor_use("output_norm.weight", 1, false), precise);
  EXPECT_EQ(tensor_use("output.weight", 2, false), head);
  EXPECT_EQ(tensor_use("token_embd.weight", 2, false), matrix);
  EXPECT_EQ(tensor_use("token_embd.weight", 2, true), head);

  const std::vector<std::size_t> blocks{10, 64};
  const std::vector<std::size_t> others{10, 60};
  for (const TensorType type : {TensorType::F32, TensorType::F16, TensorType::BF16,
                                TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1}) {
    EXPECT_EQ(weight_type(type, precise, blocks), TensorType::F32);
    EXPECT_EQ(weight_type(type, matrix, blocks), type);
    const bool is_float = info(type).block_elements == 1;
    EXPECT_EQ(weight_type(type, matrix, others), is_float ? type : TensorType::F16);
    EXPECT_EQ(weight_type(type, head, others), is_float ? type : TensorType::F16);
    EXPECT_EQ(weight_type(type, head, blocks), is_float ? type : TensorType::Q8_0);
  }
}

}  // namespace
}  // namespace fathom
