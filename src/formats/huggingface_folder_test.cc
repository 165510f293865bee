#include "formats/huggingface_folder.h"

#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "formats/pickle_test_writer.h"
#include "formats/test_folder.h"
#include "formats/zip_test_writer.h"

namespace fathom {
namespace {

using ::testing::HasSubstr;

/// A safetensors file with one-element tensors of these names.
std::string weights(const std::vector<std::string>& names) {
  std::string header = "{";
  for (std::size_t i = 0; i < names.size(); ++i) {
    header += (i == 0 ? "\"" : ", \"") + names[i] +
              R"(": {"dtype": "F32", "shape": [1], "data_offsets": [)" + std::to_string(4 * i) +
              ", " + std::to_string(4 * i + 4) + "]}";
  }
  header += "}";
  const std::uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + std::string(4 * names.size(), '\0');
}

/// A PyTorch checkpoint with one-element tensors of these names, and a mask.
std::string checkpoint(const std::vector<std::string>& names, const std::string& mask) {
  std::string items;
  for (const std::string& name : names) {
    items += pickled::text(name) +
             pickled::tensor(pickled::storage("FloatStorage", "0", 1), {0, {1}, {1}});
  }
  items +=
      pickled::text(mask) + pickled::tensor(pickled::storage("BoolStorage", "1", 1), {0, {1}, {1}});
  return ZipTestWriter{
      .entries = {{.name = "w/data.pkl", .data = pickled::pickle(pickled::dict(items))},
                  {.name = "w/data/0", .data = std::string(4, '\1')},
                  {.name = "w/data/1", .data = std::string(1, '\1')},
                  {.name = "w/version", .data = "3"}}}
      .bytes();
}

class HuggingFaceFolderTest : public ::testing::Test {
 protected:
  HuggingFaceFolderTest() { folder_.write("config.json", R"({"model_type": "llama"})"); }

  void write_shards(std::string_view index) const {
    folder_.write("model-1.safetensors", weights({"a", "b"}));
    folder_.write("model-2.safetensors", weights({"c"}));
    folder_.write("model.safetensors.index.json", index);
  }

  std::string error() const {
    try {
      (void)HuggingFaceFolder::open(folder_.path());
    } catch (const FileError& error) {
      EXPECT_THAT(error.what(), HasSubstr(folder_.path().string()));
      return error.what();
    }
    ADD_FAILURE() << "the folder was accepted";
    return "";
  }

  std::string index_error(std::string_view index) const {
    write_shards(index);
    return error();
  }

  TestFolder folder_;
};

TEST_F(HuggingFaceFolderTest, ReadsAFolderWithOneFile) {
  folder_.write("model.safetensors", weights({"a", "b"}));
  const HuggingFaceFolder model = HuggingFaceFolder::open(folder_.path());
  EXPECT_EQ(model.path, folder_.path());
  EXPECT_EQ(model.config.at("model_type"), "llama");
  EXPECT_EQ(model.generation_config, std::nullopt);
  EXPECT_EQ(model.tokenizer_config, std::nullopt);
  EXPECT_EQ(model.chat_template, std::nullopt);
  EXPECT_EQ(model.tensors.tensors().size(), 2U);
}

TEST_F(HuggingFaceFolderTest, ReadsShards) {
  write_shards(R"({"metadata": {"total_size": 12}, "weight_map":
      {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}})");
  const TensorSource tensors = HuggingFaceFolder::open(folder_.path()).tensors;
  EXPECT_EQ(tensors.origin(), folder_.path().string());
  ASSERT_EQ(tensors.tensors().size(), 3U);
  EXPECT_EQ(tensors.find("c")->bytes[3], std::byte{0});
}

TEST_F(HuggingFaceFolderTest, ReadsPyTorchCheckpoints) {
  folder_.write("pytorch_model.bin", checkpoint({"a", "b"}, "mask"));
  const TensorSource tensors = HuggingFaceFolder::open(folder_.path()).tensors;
  EXPECT_EQ(tensors.tensors().size(), 2U);
  EXPECT_EQ(tensors.find("b")->bytes[3], std::byte{1});
  EXPECT_THROW((void)tensors.find("mask"), FileError);
  folder_.write("model.safetensors", weights({"c"}));  // goes first
  EXPECT_EQ(HuggingFaceFolder::open(folder_.path()).tensors.tensors().begin()->first, "c");
}

TEST_F(HuggingFaceFolderTest, ReadsShardsOfPyTorchCheckpoints) {
  folder_.write("pytorch_model-1.bin", checkpoint({"a", "b"}, "mask.1"));
  folder_.write("pytorch_model-2.bin", checkpoint({"c"}, "mask.2"));
  const auto index = [&](std::string_view weight_map) {
    folder_.write("pytorch_model.bin.index.json",
                  "{\"weight_map\": {" + std::string(weight_map) + "}}");
  };
  index(R"("a": "pytorch_model-1.bin", "b": "pytorch_model-1.bin", "c": "pytorch_model-2.bin",
           "mask.1": "pytorch_model-1.bin", "mask.2": "pytorch_model-2.bin")");
  const TensorSource tensors = HuggingFaceFolder::open(folder_.path()).tensors;
  EXPECT_EQ(tensors.tensors().size(), 3U);
  EXPECT_EQ(tensors.find("c")->bytes[3], std::byte{1});
  EXPECT_THROW((void)tensors.find("mask.1"), FileError);
  EXPECT_THROW((void)tensors.find("mask.2"), FileError);

  index(R"("a": "pytorch_model-1.bin", "b": "pytorch_model-1.bin")");
  EXPECT_THAT(error(), HasSubstr("pytorch_model-1.bin: tensor 'mask.1': "
                                 "pytorch_model.bin.index.json does not say it is here"));
  index(R"("a": "pytorch_model-1.bin", "d": "pytorch_model-1.bin")");
  EXPECT_THAT(error(), HasSubstr("tensor 'd': missing; pytorch_model.bin.index.json says"));
  for (const std::string_view name : {"../x.bin", "/x.bin", "x.safetensors", ".."}) {
    index(R"("a": ")" + std::string(name) + "\"");
    EXPECT_THAT(error(), HasSubstr("the name of a .bin file in the folder expected")) << name;
  }
}

TEST_F(HuggingFaceFolderTest, ReadsTheOtherConfigs) {
  folder_.write("model.safetensors", weights({"a"}));
  folder_.write("generation_config.json", R"({"eos_token_id": [1, 2]})");
  folder_.write("tokenizer_config.json", R"({"chat_template": "in the config"})");
  const HuggingFaceFolder model = HuggingFaceFolder::open(folder_.path());
  EXPECT_EQ(model.generation_config.value().at("eos_token_id").size(), 2U);
  EXPECT_EQ(model.chat_template, "in the config");
  folder_.write("chat_template.jinja", "in its own file");
  EXPECT_EQ(HuggingFaceFolder::open(folder_.path()).chat_template, "in its own file");
}

TEST_F(HuggingFaceFolderTest, TakesTheDefaultOfSeveralTemplates) {
  folder_.write("model.safetensors", weights({"a"}));
  folder_.write("tokenizer_config.json", R"({"chat_template": [
      {"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(HuggingFaceFolder::open(folder_.path()).chat_template, "d");
  folder_.write("tokenizer_config.json", R"({"chat_template": [{"name": "x", "template": "t"}]})");
  EXPECT_THAT(error(), HasSubstr("key 'chat_template': none is named 'default'"));
  folder_.write("tokenizer_config.json", R"({"chat_template": [1]})");
  EXPECT_THAT(error(), HasSubstr("tokenizer_config.json: 1 found, an object expected"));
  folder_.write("tokenizer_config.json", R"({"chat_template": 7})");
  EXPECT_THAT(error(), HasSubstr("key 'chat_template': 7 found, a string expected"));
}

TEST_F(HuggingFaceFolderTest, NamesFilesThatAreMissing) {
  EXPECT_THAT(error(), HasSubstr("no weights found"));
  folder_.write("pytorch_model.bin", "");
  EXPECT_THAT(error(), HasSubstr("pytorch_model.bin: byte 0: an empty file found, a PyTorch "
                                 "checkpoint expected"));
  folder_.write("model.safetensors", weights({"a"}));
  std::filesystem::remove(folder_.path() / "config.json");
  EXPECT_THAT(error(), HasSubstr("config.json: missing"));
  EXPECT_THROW((void)HuggingFaceFolder::open(folder_.path() / "absent"), FileError);
  EXPECT_THROW((void)HuggingFaceFolder::open(folder_.path() / "model.safetensors"), FileError);
}

TEST_F(HuggingFaceFolderTest, NamesConfigsThatAreDamaged) {
  folder_.write("model.safetensors", weights({"a"}));
  for (const std::string_view name :
       {"generation_config.json", "tokenizer_config.json", "config.json"}) {
    folder_.write(name, "{\"a\": 1,\n");
    EXPECT_THAT(error(), HasSubstr(std::string(name) + ": line 2"));
    folder_.write(name, "[]");
    EXPECT_THAT(error(), HasSubstr(std::string(name) + ": an array found, an object expected"));
    folder_.write(name, "{\"a\": 1, \"a\": 2}");
    EXPECT_THAT(error(), HasSubstr(std::string(name) + ": key 'a' is there twice"));
    folder_.write(name, "{}");
  }
}

TEST_F(HuggingFaceFolderTest, HoldsTheIndexAgainstTheShards) {
  EXPECT_THAT(index_error("{}"), HasSubstr("key 'weight_map': missing; an object expected"));
  EXPECT_THAT(index_error(R"({"weight_map": []})"), HasSubstr("an array found"));
  EXPECT_THAT(index_error(R"({"weight_map": {}})"), HasSubstr("it is empty"));
  EXPECT_THAT(index_error(R"({"weight_map": {"a": 1}})"),
              HasSubstr("key 'weight_map.a': 1 found, a string expected"));
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "model-1.safetensors"}})"),
              HasSubstr("model-1.safetensors: tensor 'b': model.safetensors.index.json does not "
                        "say it is here"));
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "model-1.safetensors",
                  "b": "model-1.safetensors", "c": "model-2.safetensors",
                  "d": "model-2.safetensors"}})"),
              HasSubstr("model-2.safetensors: tensor 'd': missing"));
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "model-3.safetensors"}})"),
              HasSubstr("model-3.safetensors: cannot open"));
  EXPECT_THAT(index_error(R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})"),
              HasSubstr("key 'a' is there twice"));
}

TEST_F(HuggingFaceFolderTest, ShardsDoNotLeaveTheFolder) {
  for (const std::string_view name :
       {"/etc/x.safetensors", "../x.safetensors", "a/../x.safetensors", "sub/x.safetensors", "..",
        ".", "", "x.bin", "a\\\\x.safetensors", "a\\u0000.safetensors"}) {
    EXPECT_THAT(index_error(R"({"weight_map": {"a": ")" + std::string(name) + "\"}}"),
                HasSubstr("the name of a .safetensors file in the folder expected"))
        << name;
  }
}

}  // namespace
}  // namespace fathom
