#include "formats/gguf.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/gguf_test_writer.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Bytes = GgufTestWriter::Bytes;

constexpr std::size_t version_at = 4;
constexpr std::size_t tensor_count_at = 8;
constexpr std::size_t metadata_count_at = 16;
constexpr std::size_t first_key_at = 24;

template <class T>
Bytes patched(Bytes file, std::size_t offset, T value) {
  std::memcpy(file.data() + offset, &value, sizeof value);
  return file;
}

class GgufTest : public ::testing::Test {
 protected:
  GgufFile open(std::span<const std::byte> bytes) const {
    return GgufFile::open(folder_.write("model.gguf", bytes));
  }
  GgufFile open(const GgufTestWriter& writer) const { return open(writer.bytes()); }

  /// What the FileError says; fails the test if there is none.
  std::string error(std::span<const std::byte> bytes) const {
    try {
      (void)open(bytes);
    } catch (const FileError& error) {
      EXPECT_THAT(error.what(), HasSubstr("model.gguf: "));
      return error.what();
    }
    ADD_FAILURE() << "the file was accepted";
    return "";
  }
  std::string error(const GgufTestWriter& writer) const { return error(writer.bytes()); }

  TestFolder folder_;
};

const std::vector<float> four{1, 2, 3, 4};

std::vector<float> floats(const TensorView& tensor) {
  std::vector<float> values(tensor.elements());
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

GgufTestWriter small_file() {
  GgufTestWriter writer;
  writer.add_string("general.architecture", "llama")
      .add_number("a.uint8", std::uint8_t{200})
      .add_number("a.int8", std::int8_t{-5})
      .add_number("a.uint16", std::uint16_t{60000})
      .add_number("a.int16", std::int16_t{-30000})
      .add_number("a.uint32", std::uint32_t{4'000'000'000})
      .add_number("a.int32", std::int32_t{-2'000'000'000})
      .add_number("a.uint64", std::numeric_limits<std::uint64_t>::max())
      .add_number("a.int64", std::numeric_limits<std::int64_t>::min())
      .add_number("a.float32", 0.5F)
      .add_number("a.float64", 0.1)
      .add_bool("a.bool", true)
      .add_strings("l.strings", {"a", "", "ccc"})
      .add_numbers("l.int32", std::vector<std::int32_t>{-1, 0, 7})
      .add_numbers("l.uint8", std::vector<std::uint8_t>{0, 255})
      .add_numbers("l.uint64", std::vector<std::uint64_t>{1, std::uint64_t{1} << 63U})
      .add_numbers("l.float32", std::vector<float>{1.5F, -2})
      .add_bools("l.bool", {true, false})
      .add_tensor("first", {2, 2}, four)
      .add_tensor("second", TensorType::Q8_0, {1, 32}, Bytes(34, std::byte{1}))
      .add_tensor("third", TensorType::F16, {3, 1, 2}, Bytes(12, std::byte{2}));
  return writer;
}

TEST_F(GgufTest, ReadsMetadataOfEveryType) {
  const GgufFile file = open(small_file());
  EXPECT_EQ(file.metadata().size(), 18U);
  EXPECT_EQ(file.require_string("general.architecture"), "llama");
  EXPECT_EQ(file.require_unsigned("a.uint8"), 200U);
  EXPECT_EQ(file.require_unsigned("a.uint16"), 60000U);
  EXPECT_EQ(file.require_unsigned("a.uint32"), 4'000'000'000U);
  EXPECT_EQ(file.require_unsigned("a.uint64"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(std::get<std::int64_t>(file.metadata().at("a.int8")), -5);
  EXPECT_EQ(std::get<std::int64_t>(file.metadata().at("a.int16")), -30000);
  EXPECT_EQ(std::get<std::int64_t>(file.metadata().at("a.int32")), -2'000'000'000);
  EXPECT_EQ(std::get<std::int64_t>(file.metadata().at("a.int64")),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(file.require_float("a.float32"), 0.5);
  EXPECT_EQ(file.require_float("a.float64"), 0.1);
  EXPECT_EQ(file.find_bool("a.bool"), true);
  EXPECT_THAT(file.require_strings("l.strings"), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(file.find_integers("l.int32").value(), ElementsAre(-1, 0, 7));
  EXPECT_THAT(file.find_integers("l.uint8").value(), ElementsAre(0, 255));
  EXPECT_THAT(std::get<std::vector<double>>(file.metadata().at("l.float32")), ElementsAre(1.5, -2));
  EXPECT_THAT(std::get<std::vector<bool>>(file.metadata().at("l.bool")), ElementsAre(true, false));
}

TEST_F(GgufTest, ReadsTensorsOutermostFirst) {
  const GgufFile file = open(small_file());
  EXPECT_EQ(file.tensors().tensors().size(), 3U);
  EXPECT_EQ(file.path(), (folder_.path() / "model.gguf").string());
  const TensorView& first = file.tensors().tensors().at("first");
  EXPECT_EQ(first.type, TensorType::F32);
  EXPECT_THAT(first.shape, ElementsAre(2, 2));
  EXPECT_EQ(floats(first), four);
  const TensorView& third = file.tensors().tensors().at("third");
  EXPECT_THAT(third.shape, ElementsAre(3, 1, 2));
  EXPECT_EQ(third.bytes.size(), 12U);
  EXPECT_EQ(third.bytes.front(), std::byte{2});
}

TEST_F(GgufTest, TensorsOutliveTheFileObject) {
  const TensorSource tensors = open(small_file()).tensors();
  EXPECT_EQ(floats(*tensors.find("first")), four);
}

TEST_F(GgufTest, ReadsEveryTensorType) {
  constexpr std::array types{TensorType::F32,  TensorType::F16,  TensorType::BF16, TensorType::Q4_0,
                             TensorType::Q4_1, TensorType::Q5_0, TensorType::Q5_1, TensorType::Q8_0,
                             TensorType::Q4_K, TensorType::Q5_K, TensorType::Q6_K};
  GgufTestWriter writer;
  for (const TensorType type : types) {
    const std::size_t bytes = 2 * 256 / info(type).block_elements * info(type).block_bytes;
    writer.add_tensor(info(type).name, type, {2, 256}, Bytes(bytes));
  }
  const GgufFile file = open(writer);
  for (const TensorType type : types) {
    EXPECT_EQ(file.tensors().tensors().at(std::string(info(type).name)).type, type);
  }
}

TEST_F(GgufTest, ReadsVersion2AndOtherAlignments) {
  EXPECT_EQ(open(small_file().set_version(2)).tensors().tensors().size(), 3U);
  for (const std::uint32_t alignment : {1U, 8U, 256U}) {
    GgufTestWriter writer;
    writer.set_alignment(alignment)
        .add_number("general.alignment", alignment)
        .add_tensor("x", {3}, std::vector<float>{1, 2, 3})
        .add_tensor("y", {4}, four);
    const GgufFile file = open(writer);
    EXPECT_EQ(floats(*file.tensors().find("y")), four);
  }
}

TEST_F(GgufTest, ReadsAFileWithoutTensorsOrMetadata) {
  EXPECT_TRUE(open(GgufTestWriter()).metadata().empty());
  GgufTestWriter writer;
  writer.add_string("k", "v").add_strings("none", {});
  EXPECT_TRUE(open(writer).tensors().tensors().empty());
}

TEST_F(GgufTest, FindGivesNothingForAbsentKeys) {
  const GgufFile file = open(small_file());
  EXPECT_EQ(file.find_unsigned("b"), std::nullopt);
  EXPECT_EQ(file.find_float("b"), std::nullopt);
  EXPECT_EQ(file.find_bool("b"), std::nullopt);
  EXPECT_EQ(file.find_string("b"), nullptr);
  EXPECT_EQ(file.find_strings("b"), nullptr);
  EXPECT_EQ(file.find_integers("b"), std::nullopt);
}

TEST_F(GgufTest, RequireNamesAbsentKeys) {
  const GgufFile file = open(small_file());
  EXPECT_THAT(error_of<FileError>([&] { return file.require_unsigned("b"); }),
              HasSubstr("model.gguf: metadata 'b': missing; an integer expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.require_float("b"); }),
              HasSubstr("a float expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.require_string("b"); }),
              HasSubstr("a string expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.require_strings("b"); }),
              HasSubstr("an array of strings expected"));
}

TEST_F(GgufTest, TypedReadsRefuseOtherTypes) {
  GgufTestWriter writer = small_file();
  writer.add_number("nan", std::nanf("")).add_number("inf", HUGE_VALF);
  const GgufFile file = open(writer);
  EXPECT_THAT(error_of<FileError>([&] { return file.find_unsigned("a.int8"); }),
              HasSubstr("'a.int8': -5 found, an integer of at least 0 expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_unsigned("a.float32"); }),
              HasSubstr("a float found, an integer expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_unsigned("a.bool"); }),
              HasSubstr("a bool found"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_float("a.uint8"); }),
              HasSubstr("an unsigned integer found, a float expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_float("nan"); }),
              HasSubstr("a finite number expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_float("inf"); }),
              HasSubstr("a finite number expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_bool("a.int8"); }),
              HasSubstr("a signed integer found, a bool expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_string("l.strings"); }),
              HasSubstr("an array of strings found, a string expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_strings("general.architecture"); }),
              HasSubstr("a string found, an array of strings expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_strings("l.bool"); }),
              HasSubstr("an array of bools found"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_integers("l.float32"); }),
              HasSubstr("an array of floats found, an array of integers expected"));
  EXPECT_THAT(error_of<FileError>([&] { return file.find_integers("l.uint64"); }),
              HasSubstr("element 1 is 9223372036854775808"));
}

TEST_F(GgufTest, SaysWhatAFileOfAnotherKindLooksLike) {
  const auto kind = [&](std::string_view start) {
    return error(std::as_bytes(std::span(start.data(), start.size())));
  };
  EXPECT_THAT(kind(""), HasSubstr("byte 0: an empty file found, a GGUF file expected"));
  EXPECT_THAT(kind("PK\x03\x04rest"), HasSubstr("a zip archive found"));
  const std::string header =
      std::string("PK\x03\x04") + std::string(22, '\0') + "\x0d" + std::string(3, '\0');
  EXPECT_THAT(
      kind(header + "name/data.pkl"),
      HasSubstr("a PyTorch checkpoint (to use it, give the model's folder, with the file as "
                "pytorch_model.bin) found, a GGUF file expected"));
  EXPECT_THAT(kind(header + "name/data.tx"), HasSubstr("a zip archive found"));
  EXPECT_THAT(kind(header), HasSubstr("a zip archive found"));
  EXPECT_THAT(kind("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02"),
              HasSubstr("a PyTorch checkpoint in the format from before PyTorch 1.6 found"));
  EXPECT_THAT(kind("\x80\x04"), HasSubstr("starts with the bytes 80 04"));
  EXPECT_THAT(kind(std::string_view("\x20\0\0\0\0\0\0\0{\"a\":", 13)),
              HasSubstr("a safetensors file"));
  EXPECT_THAT(kind("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("Git LFS pointer"));
  EXPECT_THAT(kind("<!DOCTYPE html>"), HasSubstr("an HTML page"));
  EXPECT_THAT(kind("{\"a\": 1}"), HasSubstr("a JSON file"));
  EXPECT_THAT(kind("tjgg\x03"), HasSubstr("from before GGUF"));
  EXPECT_THAT(kind(std::string_view("\0\0\0\0", 4)), HasSubstr("starts with zeros"));
  EXPECT_THAT(kind("\xff\x01"), HasSubstr("starts with the bytes ff 01"));
  EXPECT_THAT(kind("GG"), HasSubstr("starts with the bytes 47 47"));
}

TEST_F(GgufTest, RefusesOtherVersionsAndBigEndianFiles) {
  const Bytes file = small_file().bytes();
  EXPECT_THAT(error(patched(file, version_at, std::uint32_t{1})),
              HasSubstr("header, byte 4: GGUF version 1 found, 2 or 3 expected"));
  EXPECT_THAT(error(patched(file, version_at, std::uint32_t{0})), HasSubstr("version 0 found"));
  EXPECT_THAT(error(patched(file, version_at, std::uint32_t{4})), HasSubstr("version 4 found"));
  EXPECT_THAT(error(patched(file, version_at, std::uint32_t{3U << 24U})),
              HasSubstr("a big-endian GGUF file found"));
}

TEST_F(GgufTest, HoldsCountsAgainstTheBytesLeft) {
  const Bytes file = small_file().bytes();
  for (const std::uint64_t count :
       {std::uint64_t{1000}, std::uint64_t{1} << 60U, std::numeric_limits<std::uint64_t>::max()}) {
    EXPECT_THAT(error(patched(file, tensor_count_at, count)),
                AllOf(HasSubstr("header, byte 8"), HasSubstr("tensors found")));
    EXPECT_THAT(error(patched(file, metadata_count_at, count)), HasSubstr("metadata keys found"));
    EXPECT_THAT(error(patched(file, first_key_at, count * 100)),
                AllOf(HasSubstr("metadata, byte 24: key of"), HasSubstr("bytes are left")));
    for (const std::uint32_t type : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 10U, 11U, 12U}) {
      GgufTestWriter writer;
      writer.add_raw_array("k", type, count, Bytes(16));
      EXPECT_THAT(error(writer), HasSubstr("metadata 'k', byte")) << type << " " << count;
    }
    GgufTestWriter writer;
    writer.add_raw("k", 8, GgufTestWriter::bytes_of(count));
    EXPECT_THAT(error(writer), AllOf(HasSubstr("metadata 'k'"), HasSubstr("a string of")));
  }
}

TEST_F(GgufTest, RefusesValuesThatAreNone) {
  GgufTestWriter type;
  type.add_raw("k", 13, Bytes(8));
  EXPECT_THAT(error(type), HasSubstr("metadata 'k', byte 33: value type 13 found"));
  GgufTestWriter element;
  element.add_raw_array("k", 99, 0, {});
  EXPECT_THAT(error(element), HasSubstr("array element type 99 found"));
  GgufTestWriter nested;
  nested.add_raw_array("k", 9, 1, Bytes(16));
  EXPECT_THAT(error(nested), HasSubstr("an array of arrays found, which is not supported"));
  GgufTestWriter boolean;
  boolean.add_raw("k", 7, GgufTestWriter::bytes_of(std::uint8_t{2}));
  EXPECT_THAT(error(boolean), HasSubstr("bool 2 found, 0 or 1 expected"));
  GgufTestWriter booleans;
  booleans.add_raw_array("k", 7, 2, GgufTestWriter::bytes_of(std::uint16_t{0x0301}));
  EXPECT_THAT(error(booleans), HasSubstr("bool 3 found"));
}

TEST_F(GgufTest, RefusesKeysThatAreNone) {
  GgufTestWriter twice;
  twice.add_bool("k", true).add_number("k", 1.0F);
  EXPECT_THAT(error(twice), HasSubstr("metadata 'k', byte 38: the key is there twice"));
  EXPECT_THAT(error(GgufTestWriter().add_bool("", true).add_bool("longer", true)),
              HasSubstr("an empty key found"));
  EXPECT_THAT(error(GgufTestWriter().add_bool("a\x1b[2J\xff", true)),
              HasSubstr("'a\\x1b[2J\\xff' found, printable ASCII expected"));
  EXPECT_THAT(error(GgufTestWriter().add_bool(std::string(65536, 'k'), true)),
              HasSubstr("key of 65536 bytes found, at most 65535 expected"));
}

TEST_F(GgufTest, RefusesAlignmentsThatAreNone) {
  for (const std::uint64_t alignment : {std::uint64_t{0}, std::uint64_t{24}, std::uint64_t{33},
                                        std::uint64_t{1} << 32U, std::uint64_t{1} << 63U}) {
    GgufTestWriter writer;
    writer.add_number("general.alignment", alignment).add_tensor("x", {4}, four);
    EXPECT_THAT(error(writer), HasSubstr("'general.alignment': " + std::to_string(alignment) +
                                         " found, a power of two"));
  }
  GgufTestWriter text;
  text.add_string("general.alignment", "32").add_tensor("x", {4}, four);
  EXPECT_THAT(error(text), HasSubstr("a string found, an integer expected"));
  GgufTestWriter beyond;
  beyond.add_number("general.alignment", std::uint32_t{1U << 31U}).add_tensor("x", {4}, four);
  EXPECT_THAT(error(beyond), HasSubstr("tensor 'x': 16 bytes at offset 0"));
}

TEST_F(GgufTest, NamesTensorAndTypeThatIsNotSupported) {
  const auto typed = [&](std::uint32_t type) {
    GgufTestWriter writer;
    writer.add_raw_tensor("blk.0.attn_q.weight", type, std::vector<std::uint64_t>{256}, 0,
                          Bytes(512));
    return error(writer);
  };
  const std::string place = "tensor 'blk.0.attn_q.weight', byte ";
  EXPECT_THAT(typed(23),
              AllOf(HasSubstr(place), HasSubstr("type IQ4_XS found, which is not supported")));
  EXPECT_THAT(typed(4), HasSubstr("type Q4_2 found"));
  EXPECT_THAT(typed(41), HasSubstr("type Q1_0 found"));
  EXPECT_THAT(typed(42), AllOf(HasSubstr(place), HasSubstr("unknown type 42 found")));
  EXPECT_THAT(typed(0xffffffffU), HasSubstr("unknown type 4294967295 found"));
}

TEST_F(GgufTest, RefusesDimensionsThatAreNone) {
  const auto shaped = [&](std::vector<std::uint64_t> dimensions, std::uint32_t type = 0) {
    GgufTestWriter writer;
    writer.add_raw_tensor("x", type, dimensions, 0, Bytes(64));
    return error(writer);
  };
  EXPECT_THAT(shaped({}), HasSubstr("0 dimensions found, 1 to 4 expected"));
  EXPECT_THAT(shaped({1, 1, 1, 1, 1}), HasSubstr("5 dimensions found, 1 to 4 expected"));
  EXPECT_THAT(shaped({4, 0}), HasSubstr("a dimension of 0 found"));
  const std::uint64_t huge = std::uint64_t{1} << 32U;
  EXPECT_THAT(shaped({huge, huge}), HasSubstr("overflows"));
  EXPECT_THAT(shaped({huge, huge / 4}), HasSubstr("overflows"));
  EXPECT_THAT(shaped({std::numeric_limits<std::uint64_t>::max()}), HasSubstr("overflows"));
  EXPECT_THAT(shaped({std::uint64_t{1} << 62U}), HasSubstr("overflows"));
  EXPECT_THAT(shaped({33}, 8), HasSubstr("rows of 33 elements"));
  EXPECT_THAT(shaped({17}), HasSubstr("68 bytes at offset 0"));
}

TEST_F(GgufTest, RefusesOffsetsThatAreNone) {
  const std::vector<std::uint64_t> row{4};
  const auto placed = [&](std::uint64_t offset) {
    GgufTestWriter writer;
    writer.add_tensor("first", {4}, four);
    writer.add_raw_tensor("x", 0, row, offset, Bytes(16));
    return error(writer);
  };
  EXPECT_THAT(placed(16), HasSubstr("offset 16 found, a multiple of 32 expected"));
  EXPECT_THAT(placed(64), HasSubstr("tensor 'x': 16 bytes at offset 64 of the data found"));
  EXPECT_THAT(placed(std::uint64_t{0} - 32), HasSubstr("tensor 'x': 16 bytes at offset"));
  EXPECT_THAT(placed(0), HasSubstr("overlap"));
  GgufTestWriter inside;
  inside.add_tensor("long", {16}, std::vector<float>(16));
  inside.add_raw_tensor("x", 0, row, 32, Bytes(16));
  EXPECT_THAT(error(inside), HasSubstr("tensor 'x': its bytes overlap those of 'long'"));
}

TEST_F(GgufTest, RefusesTensorNamesThatAreNone) {
  EXPECT_THAT(error(GgufTestWriter().add_tensor("x", {4}, four).add_tensor("x", {4}, four)),
              HasSubstr("tensor 'x': named twice"));
  EXPECT_THAT(error(GgufTestWriter().add_tensor("", {4}, four)), HasSubstr("an empty name found"));
  EXPECT_THAT(error(GgufTestWriter().add_tensor("a\n", {4}, four)),
              HasSubstr("printable ASCII expected"));
  EXPECT_THAT(error(GgufTestWriter().add_tensor(std::string(256, 'x'), {4}, four)),
              HasSubstr("name of 256 bytes found, at most 255 expected"));
}

TEST_F(GgufTest, RefusesWhatIsNoFile) {
  EXPECT_THROW((void)GgufFile::open(folder_.path()), FileError);
  EXPECT_THROW((void)GgufFile::open(folder_.path() / "absent.gguf"), FileError);
}

/// Reads all that a sound file gives, so that a sanitizer sees a view that leaves the mapping.
std::uint64_t read_all(const GgufFile& file) {
  std::uint64_t sum = file.metadata().size();
  for (const auto& [name, tensor] : file.tensors().tensors()) {
    EXPECT_EQ(tensor.bytes.size(), tensor_bytes(tensor.type, tensor.shape));
    for (const std::byte b : tensor.bytes) sum += std::to_integer<std::uint64_t>(b);
  }
  return sum;
}

TEST_F(GgufTest, EveryTruncationIsRefused) {
  const Bytes file = small_file().bytes();
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(error(std::span(file).first(size)), "") << size;
  }
}

TEST_F(GgufTest, ReadsBytesInMemoryAsAFile) {
  const Bytes bytes = small_file().bytes();
  const GgufFile file = GgufFile::parse("weights", bytes);
  EXPECT_EQ(file.path(), "weights");
  EXPECT_EQ(file.metadata(), open(bytes).metadata());
  EXPECT_EQ(read_all(file), read_all(open(bytes)));
  for (const auto& [name, tensor] : file.tensors().tensors()) {
    EXPECT_GE(tensor.bytes.data(), bytes.data());
    EXPECT_LE(tensor.bytes.data() + tensor.bytes.size(), bytes.data() + bytes.size());
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    // In memory of their own, so that a sanitizer sees what is read behind them.
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THAT(error_of<FileError>([&] { return GgufFile::parse("weights", cut); }),
                StartsWith("weights: "));
  }
}

TEST_F(GgufTest, EveryFlippedBitIsReadOrRefused) {
  const GgufTestWriter writer = small_file();
  const Bytes file = writer.bytes();
  std::size_t refused = 0;
  for (std::size_t at = 0; at < writer.header_bytes(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      const Bytes damaged = patched(file, at, file[at] ^ std::byte(1U << bit));
      try {
        EXPECT_GT(read_all(open(damaged)), 0U);
      } catch (const FileError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, writer.header_bytes());
}

TEST_F(GgufTest, EveryFieldSetToExtremesIsReadOrRefused) {
  const GgufTestWriter writer = small_file();
  const Bytes file = writer.bytes();
  for (std::size_t at = 0; at + 8 <= writer.header_bytes(); ++at) {
    for (const std::uint64_t value :
         {std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(), std::uint64_t{1} << 63U,
          std::uint64_t{0x7fffffff}, std::uint64_t{0xffffffff}}) {
      try {
        EXPECT_GT(read_all(open(patched(file, at, value))), 0U);
      } catch (const FileError&) {
        continue;
      }
    }
  }
}

}  // namespace
}  // namespace fathom
