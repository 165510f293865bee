#include "formats/safetensors.h"

#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::string file_of(std::string_view header, std::size_t data_bytes, std::uint64_t length) {
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  file += header;
  file.append(data_bytes, '\x01');
  return file;
}

std::string file_of(std::string_view header, std::size_t data_bytes) {
  return file_of(header, data_bytes, header.size());
}

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

const std::string sound =
    R"({"__metadata__": {"format": "pt"},
        "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [16, 28]},
        "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        "c": {"dtype": "F16", "shape": [], "data_offsets": [28, 30]},
        "d": {"dtype": "F16", "shape": [0, 5], "data_offsets": [30, 30]}}   )";

class SafetensorsTest : public ::testing::Test {
 protected:
  TensorSource open(std::string_view file) const {
    return open_safetensors(folder_.write("model.safetensors", file));
  }

  std::string error(std::string_view file) const {
    try {
      (void)open(file);
    } catch (const FileError& error) {
      EXPECT_THAT(error.what(), HasSubstr("model.safetensors: "));
      return error.what();
    }
    ADD_FAILURE() << "the file was accepted";
    return "";
  }

  /// Of a file with one tensor "x" of these fields and 16 bytes of data.
  std::string tensor_error(const std::string& fields) const {
    return error(file_of("{\"x\": " + fields + "}", 16));
  }

  TestFolder folder_;
};

TEST_F(SafetensorsTest, ReadsTensors) {
  const TensorSource tensors = open(file_of(sound, 30));
  EXPECT_EQ(tensors.origin(), (folder_.path() / "model.safetensors").string());
  EXPECT_EQ(tensors.tensors().size(), 4U);
  EXPECT_EQ(tensors.find("a")->type, TensorType::F32);
  EXPECT_EQ(tensors.find("b")->type, TensorType::BF16);
  EXPECT_THAT(tensors.find("b")->shape, ElementsAre(2, 3));
  EXPECT_EQ(tensors.find("b")->bytes.data(), tensors.find("a")->bytes.data() + 16);
  EXPECT_EQ(tensors.find("b")->bytes.front(), std::byte{1});
  EXPECT_EQ(tensors.find("c")->type, TensorType::F16);
  EXPECT_THAT(tensors.find("c")->shape, IsEmpty());
  EXPECT_THAT(tensors.find("d")->bytes, IsEmpty());
}

TEST_F(SafetensorsTest, ReadsAFileWithoutTensors) {
  EXPECT_THAT(open(file_of("{}", 0)).tensors(), IsEmpty());
}

TEST_F(SafetensorsTest, RefusesFilesOfAnotherKind) {
  EXPECT_THAT(error(""), HasSubstr("an empty file found, a safetensors file expected"));
  EXPECT_THAT(error("GGUF\x03"), HasSubstr("a GGUF file found"));
  EXPECT_THAT(error("PK\x03\x04 and so on"), HasSubstr("a zip archive"));
  EXPECT_THAT(error("version https://git-lfs.github.com/spec/v1"), HasSubstr("Git LFS pointer"));
  EXPECT_THAT(error(file_of("[]", 0)), HasSubstr("a safetensors file expected"));
}

TEST_F(SafetensorsTest, HoldsTheHeaderLengthAgainstTheFile) {
  EXPECT_THAT(error(file_of(sound, 30, sound.size() + 31)), HasSubstr("bytes are left"));
  EXPECT_THAT(error(file_of(sound, 30, 100'000'001)),
              HasSubstr("a header of 100000001 bytes found, at most 100000000 expected"));
  EXPECT_THAT(error(file_of(sound, 30, std::numeric_limits<std::uint64_t>::max())),
              HasSubstr("at most 100000000 expected"));
  EXPECT_THAT(error(file_of(sound, 30, 0)), HasSubstr("header: line 1"));
  EXPECT_THAT(error(file_of(sound, 30, 20)), HasSubstr("header: line 1"));
}

TEST_F(SafetensorsTest, RefusesHeadersThatAreNone) {
  EXPECT_THAT(error(file_of(R"({"x": 1,})", 0)), HasSubstr("header: line 1, column"));
  EXPECT_THAT(error(file_of("{} x", 0)), HasSubstr("header: line 1, column 4"));
  EXPECT_THAT(error(file_of(R"({"__metadata__": {"a": 1}})", 0)),
              HasSubstr("key '__metadata__': an object of strings expected"));
  EXPECT_THAT(error(file_of(R"({"__metadata__": []})", 0)),
              HasSubstr("an object of strings expected"));
  const std::string x = R"("x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})";
  EXPECT_THAT(error(file_of("{" + x + ", " + x + "}", 4)), HasSubstr("key 'x' is there twice"));
}

TEST_F(SafetensorsTest, RefusesFieldsThatAreNone) {
  EXPECT_THAT(tensor_error("1"), HasSubstr("tensor 'x': an object expected"));
  EXPECT_THAT(tensor_error(R"({"shape": [4], "data_offsets": [0, 16]})"),
              HasSubstr("dtype missing, or not a string"));
  EXPECT_THAT(tensor_error(R"({"dtype": 1, "shape": [4], "data_offsets": [0, 16]})"),
              HasSubstr("dtype missing, or not a string"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "data_offsets": [0, 16]})"),
              HasSubstr("shape missing, or not an array"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]})"),
              HasSubstr("shape holds something else than integers"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]})"),
              HasSubstr("shape holds something else than integers"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [4], "data_offsets": "0"})"),
              HasSubstr("data_offsets missing, or not an array"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 16]})"),
              HasSubstr("3 data_offsets found, 2 expected"));
  EXPECT_THAT(
      tensor_error(R"({"dtype": "F32", "shape": [1,1,1,1,1,1,1,1,4], "data_offsets": [0, 16]})"),
      HasSubstr("9 dimensions found, at most 8 expected"));
}

TEST_F(SafetensorsTest, NamesTypesThatAreNotSupported) {
  for (const std::string type : {"F64", "I64", "I32", "U8", "BOOL", "F8_E4M3", "whatever"}) {
    EXPECT_THAT(
        tensor_error(R"({"dtype": ")" + type + R"(", "shape": [2], "data_offsets": [0, 16]})"),
        HasSubstr("tensor 'x': type " + type + " found, which is not supported"));
  }
}

TEST_F(SafetensorsTest, RefusesShapesAndSizesThatDisagree) {
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [3], "data_offsets": [0, 16]})"),
              HasSubstr("tensor 'x': 16 bytes found, 12 expected for F32 [3]"));
  EXPECT_THAT(
      tensor_error(
          R"({"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 16]})"),
      HasSubstr("overflows"));
  EXPECT_THAT(
      tensor_error(R"({"dtype": "F32", "shape": [4611686018427387908], "data_offsets": [0, 16]})"),
      HasSubstr("overflows"));
  EXPECT_THAT(
      tensor_error(R"({"dtype": "F32", "shape": [99999999999999999999], "data_offsets": [0, 16]})"),
      HasSubstr("shape holds something else"));
}

TEST_F(SafetensorsTest, RefusesOffsetsThatAreNone) {
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [16, 0]})"),
              HasSubstr("data_offsets [16, 0] found, a range inside the 16 bytes"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [8, 24]})"),
              HasSubstr("data_offsets [8, 24] found"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [3], "data_offsets": [4, 16]})"),
              HasSubstr("there is a gap"));
  EXPECT_THAT(tensor_error(R"({"dtype": "F32", "shape": [3], "data_offsets": [0, 12]})"),
              HasSubstr("16 bytes of data found, the header describes 12"));
  EXPECT_THAT(error(file_of(R"({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
                        "y": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
                            16)),
              AllOf(HasSubstr("tensor 'y'"), HasSubstr("they overlap")));
}

TEST_F(SafetensorsTest, RefusesNamesThatAreNone) {
  const std::string fields = R"(": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})";
  EXPECT_THAT(error(file_of("{\"" + fields, 16)), HasSubstr("a name of 0 bytes found"));
  EXPECT_THAT(error(file_of("{\"" + std::string(256, 'x') + fields, 16)),
              HasSubstr("a name of 256 bytes found"));
  EXPECT_THAT(error(file_of("{\"a\\u001b" + fields, 16)), HasSubstr("tensor 'a\\x1b': printable"));
}

std::uint64_t read_all(const TensorSource& tensors) {
  std::uint64_t sum = 1;
  for (const auto& [name, tensor] : tensors.tensors()) {
    EXPECT_EQ(tensor.bytes.size(), tensor_bytes(tensor.type, tensor.shape));
    for (const std::byte b : tensor.bytes) sum += std::to_integer<std::uint64_t>(b);
  }
  return sum;
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  const std::string file = file_of(sound, 30);
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(error(std::string_view(file).substr(0, size)), "") << size;
  }
}

TEST_F(SafetensorsTest, ReadsBytesInMemoryAsAFile) {
  const std::string file = file_of(sound, 30);
  const std::vector<std::byte> bytes = bytes_of(file);
  const TensorSource source = parse_safetensors("weights", bytes);
  EXPECT_EQ(source.origin(), "weights");
  EXPECT_EQ(read_all(source), read_all(open(file)));
  for (const auto& [name, tensor] : source.tensors()) {
    EXPECT_GE(tensor.bytes.data(), bytes.data());
    EXPECT_LE(tensor.bytes.data() + tensor.bytes.size(), bytes.data() + bytes.size());
  }
  for (std::size_t size = 0; size < file.size(); ++size) {
    // In memory of their own, so that a sanitizer sees what is read behind them.
    const std::vector<std::byte> cut = bytes_of(std::string_view(file).substr(0, size));
    EXPECT_THAT(error_of<FileError>([&] { return parse_safetensors("weights", cut); }),
                StartsWith("weights: "));
  }
}

TEST_F(SafetensorsTest, EveryFlippedBitIsReadOrRefused) {
  const std::string file = file_of(sound, 30);
  std::size_t refused = 0;
  for (std::size_t at = 0; at + 30 < file.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ 1U << bit);
      try {
        EXPECT_GT(read_all(open(damaged)), 0U);
      } catch (const FileError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, file.size());
}

}  // namespace
}  // namespace fathom
