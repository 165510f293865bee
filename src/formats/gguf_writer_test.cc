#include "formats/gguf_writer.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/gguf.h"
#include "formats/gguf_test_writer.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::byte> bytes_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes;
  for (std::istreambuf_iterator<char> i(file), end; i != end; ++i) {
    bytes.push_back(static_cast<std::byte>(*i));
  }
  return bytes;
}

template <class Writer>
void add_every_type(Writer& writer) {
  writer.add_number("u8", std::uint8_t{255});
  writer.add_number("i8", std::int8_t{-128});
  writer.add_number("u16", std::uint16_t{65535});
  writer.add_number("i16", std::int16_t{-2});
  writer.add_number("u32", std::uint32_t{7});
  writer.add_number("i32", std::int32_t{-7});
  writer.add_number("u64", std::numeric_limits<std::uint64_t>::max());
  writer.add_number("i64", std::numeric_limits<std::int64_t>::min());
  writer.add_number("f32", 0.1F);
  writer.add_number("f64", 0.1);
  writer.add_bool("bool", true);
  writer.add_string("string", "snowman \u2603");
  writer.add_numbers("u8s", std::vector<std::uint8_t>{1, 2});
  writer.add_numbers("i32s", std::vector<std::int32_t>{});
  writer.add_numbers("f32s", std::vector<float>{1, -2});
  writer.add_bools("bools", {true, false, true});
  writer.add_strings("strings", std::vector<std::string>{"", "a", "bc"});
}

// GgufHeader takes spans.
struct SpanHeader : GgufHeader {
  using GgufHeader::GgufHeader;
  template <class T>
  void add_numbers(std::string_view key, const std::vector<T>& values) {
    GgufHeader::add_numbers(key, std::span<const T>(values));
  }
};

TEST(GgufWriter, WritesWhatTheFormatSays) {
  const TestFolder folder;
  const std::vector<float> matrix{1, 2, 3, 4, 5, 6};
  const std::vector<std::byte> block(34, std::byte{7});
  for (const std::uint64_t alignment : {32, 8, 256}) {
    GgufTestWriter expected;
    SpanHeader header(alignment);
    expected.set_alignment(alignment);
    const auto say_alignment = [&](auto& writer) {
      writer.add_number("general.alignment", static_cast<std::uint32_t>(alignment));
    };
    say_alignment(expected);
    say_alignment(header);
    add_every_type(expected);
    add_every_type(header);
    expected.add_tensor("matrix", {2, 3}, matrix);
    expected.add_tensor("block", TensorType::Q8_0, {1, 32}, block);
    header.add_tensor("matrix", TensorType::F32, std::vector<std::size_t>{2, 3});
    header.add_tensor("block", TensorType::Q8_0, std::vector<std::size_t>{1, 32});
    EXPECT_THAT(header.tensor_bytes(), ElementsAre(24, 34));

    const std::filesystem::path path = folder.path() / "a.gguf";
    GgufOutput output(path, header);
    output.append(std::as_bytes(std::span(matrix)).first(7));
    output.append(std::as_bytes(std::span(matrix)).subspan(7));
    output.append(block);
    output.commit();

    std::vector<std::byte> bytes = expected.bytes();
    bytes.resize(header.file_bytes());  // the last tensor is padded, too
    EXPECT_EQ(bytes_of_file(path), bytes);
    const GgufFile file = GgufFile::open(path);
    EXPECT_EQ(file.metadata().size(), 18U);
    EXPECT_EQ(file.tensors().tensors().size(), 2U);
  }
}

TEST(GgufWriter, CarriesEntriesOverAsTheyAre) {
  const TestFolder folder;
  GgufTestWriter source;
  add_every_type(source);
  source.write(folder.path() / "a.gguf");
  const GgufFile file = GgufFile::open(folder.path() / "a.gguf");
  GgufHeader header;
  for (const GgufEntry& entry : file.entries()) header.add_entry(entry);
  GgufOutput(folder.path() / "b.gguf", header).commit();
  std::vector<std::byte> bytes = source.bytes();
  bytes.resize(header.file_bytes());
  EXPECT_EQ(bytes_of_file(folder.path() / "b.gguf"), bytes);
}

TEST(GgufWriter, RefusesWhatNoReaderTakes) {
  GgufHeader header;
  header.add_bool("key", true);
  EXPECT_THAT(error_of<InputError>([&] { header.add_string("key", "again"); }),
              HasSubstr("'key' comes twice"));
  EXPECT_THROW(header.add_bool("", true), InputError);
  EXPECT_THROW(header.add_bool(std::string(65536, 'k'), true), InputError);
  const std::vector<std::size_t> shape{2, 32};
  header.add_tensor("t", TensorType::F32, shape);
  EXPECT_THROW(header.add_tensor("t", TensorType::F32, shape), InputError);
  EXPECT_THROW(header.add_tensor(std::string(64, 't'), TensorType::F32, shape), InputError);
  EXPECT_THROW(header.add_tensor("u", TensorType::F32, {}), InputError);
  EXPECT_THROW(header.add_tensor("u", TensorType::F32, std::vector<std::size_t>(5, 1)), InputError);
  EXPECT_THROW(header.add_tensor("u", TensorType::F32, std::vector<std::size_t>{2, 0}), InputError);
  EXPECT_THROW(header.add_tensor("u", TensorType::Q8_0, std::vector<std::size_t>{2, 33}),
               InputError);
}

TEST(GgufWriter, HoldsItsCallerToTheHeader) {
  const TestFolder folder;
  GgufHeader header;
  header.add_tensor("t", TensorType::F32, std::vector<std::size_t>{2});
  const std::vector<std::byte> bytes(9);
  GgufOutput output(folder.path() / "a.gguf", header);
  EXPECT_THROW(output.append(bytes), std::logic_error);
  output.append(std::span(bytes).first(4));
  EXPECT_THROW(output.commit(), std::logic_error);
  output.append(std::span(bytes).first(4));
  EXPECT_THROW(output.append(std::span(bytes).first(1)), std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "a.gguf"));
  output.commit();
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "a.gguf"), header.file_bytes());
}

}  // namespace
}  // namespace fathom
