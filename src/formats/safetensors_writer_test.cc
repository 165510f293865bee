#include "formats/safetensors_writer.h"

#include <array>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/safetensors.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

TensorView view(const std::string& name, TensorType type, std::vector<std::size_t> shape,
                std::span<const std::byte> bytes) {
  return {.name = name, .type = type, .shape = std::move(shape), .bytes = bytes};
}

TEST(SafetensorsWriter, WhatIsWrittenIsRead) {
  const TestFolder folder;
  const std::array<float, 6> matrix{1, 2, 3, 4, 5, 6};
  const std::array<std::uint16_t, 3> halves{7, 8, 9};
  const std::vector tensors{
      view("a", TensorType::F32, {2, 3}, std::as_bytes(std::span(matrix))),
      view("layers.0.b", TensorType::BF16, {3}, std::as_bytes(std::span(halves)))};
  const auto path = folder.path() / "x.safetensors";
  write_safetensors(path, tensors, {{"format", "pt"}});
  const TensorSource read = open_safetensors(path);
  ASSERT_EQ(read.tensors().size(), 2U);
  for (const TensorView& tensor : tensors) {
    const TensorView& found = read.require(tensor.name, tensor.shape);
    EXPECT_EQ(found.type, tensor.type);
    EXPECT_TRUE(std::equal(found.bytes.begin(), found.bytes.end(), tensor.bytes.begin(),
                           tensor.bytes.end()));
  }
  EXPECT_EQ(read_safetensors_metadata(path),
            (std::map<std::string, std::string>{{"format", "pt"}}));
  const auto without = folder.path() / "y.safetensors";
  write_safetensors(without, tensors, {});
  EXPECT_TRUE(read_safetensors_metadata(without).empty());
  std::filesystem::remove(without);
  // Nothing else is left in the folder.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(SafetensorsWriter, RefusesWhatTheFormatLacks) {
  const TestFolder folder;
  const std::vector<std::byte> bytes(18);
  const auto path = folder.path() / "x.safetensors";
  EXPECT_THROW(
      write_safetensors(path, std::vector{view("a", TensorType::Q4_0, {1, 32}, bytes)}, {}),
      std::invalid_argument);
  const std::vector twice{view("a", TensorType::F16, {9}, bytes),
                          view("a", TensorType::F16, {9}, bytes)};
  EXPECT_THROW(write_safetensors(path, twice, {}), std::invalid_argument);
  EXPECT_THROW(write_safetensors(folder.path() / "none" / "x.safetensors", {}, {}), FileError);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace fathom
