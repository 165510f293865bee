#include "formats/tensor_source.h"

#include <array>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fathom {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::array<std::byte, 64> storage{};

TEST(TensorBytesTest, CountsWholeBlocks) {
  EXPECT_EQ(tensor_bytes(TensorType::F32, std::array<std::size_t, 2>{2, 3}), 24U);
  EXPECT_EQ(tensor_bytes(TensorType::F16, {}), 2U);
  EXPECT_EQ(tensor_bytes(TensorType::Q4_1, std::array<std::size_t, 2>{3, 64}), 120U);
  EXPECT_EQ(tensor_bytes(TensorType::Q6_K, std::array<std::size_t, 1>{512}), 420U);
  EXPECT_THROW((void)tensor_bytes(TensorType::Q4_K, std::array<std::size_t, 2>{256, 128}),
               InputError);
}

TEST(TensorBytesTest, RefusesOverflow) {
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
  EXPECT_THROW((void)tensor_bytes(TensorType::F32, std::array<std::size_t, 1>{most / 2}),
               InputError);
  EXPECT_THROW((void)tensor_bytes(TensorType::F16, std::array<std::size_t, 3>{3, most / 2, 1}),
               InputError);
  EXPECT_THROW((void)tensor_bytes(TensorType::Q8_0, std::array<std::size_t, 2>{most / 32, 32}),
               InputError);
}

TEST(TensorSourceTest, AddFindRequire) {
  TensorSource source("here");
  source.add({.name = "x", .type = TensorType::F32, .shape = {2, 8}, .bytes = storage});
  EXPECT_EQ(source.find("y"), nullptr);
  EXPECT_EQ(source.find("x")->elements(), 16U);
  EXPECT_EQ(&source.require("x", std::array<std::size_t, 2>{2, 8}), source.find("x"));
  EXPECT_THAT(
      [&] {
        (void)source.require("x", std::array<std::size_t, 2>{8, 2});
      },
      ThrowsMessage<FileError>("here: tensor 'x': shape [2, 8] found, [8, 2] expected"));
  EXPECT_THAT([&] { (void)source.require("y", std::array<std::size_t, 1>{1}); },
              ThrowsMessage<FileError>("here: tensor 'y': missing"));
}

TEST(TensorSourceTest, AddRefusesWrongBytesAndNamesTaken) {
  TensorSource source("here");
  const TensorView tensor{.name = "x", .type = TensorType::F32, .shape = {16}, .bytes = storage};
  source.add(tensor);
  EXPECT_THAT([&] { source.add(tensor); },
              ThrowsMessage<FileError>("here: tensor 'x': named twice"));
  EXPECT_THAT(
      [&] { source.add({.name = "y", .type = TensorType::F32, .shape = {15}, .bytes = storage}); },
      ThrowsMessage<FileError>(HasSubstr("64 bytes found, 60 expected for F32 [15]")));
  EXPECT_THAT(
      [&] { source.add({.name = "y", .type = TensorType::Q8_0, .shape = {33}, .bytes = storage}); },
      ThrowsMessage<FileError>(HasSubstr("here: tensor 'y': rows of 33 elements")));
}

TEST(TensorSourceTest, RefusedTensorsAreNamedWhenAskedFor) {
  TensorSource source("here");
  const TensorView x{.name = "x", .type = TensorType::F32, .shape = {16}, .bytes = storage};
  source.add(x);
  source.refuse("mask", "type bool found, which is not supported");
  EXPECT_EQ(source.tensors().size(), 1U);
  EXPECT_EQ(source.refused().size(), 1U);
  constexpr auto message = "here: tensor 'mask': type bool found, which is not supported";
  EXPECT_THAT([&] { (void)source.find("mask"); }, ThrowsMessage<FileError>(message));
  EXPECT_THAT([&] { (void)source.require("mask", std::array<std::size_t, 1>{1}); },
              ThrowsMessage<FileError>(message));
  EXPECT_THAT([&] { source.refuse("x", "why"); },
              ThrowsMessage<FileError>("here: tensor 'x': named twice"));
  EXPECT_THAT([&] { source.refuse("mask", "why"); },
              ThrowsMessage<FileError>("here: tensor 'mask': named twice"));
  TensorView mask = x;
  mask.name = "mask";
  EXPECT_THAT([&] { source.add(mask); },
              ThrowsMessage<FileError>("here: tensor 'mask': named twice"));
}

TEST(TensorSourceTest, KeepsOwnersAliveInCopies) {
  auto owner = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owner;
  auto source = std::make_unique<TensorSource>("here");
  source->keep_alive(std::move(owner));
  const auto copy = std::make_unique<TensorSource>(*source);
  source.reset();
  EXPECT_FALSE(watch.expired());
}

}  // namespace
}  // namespace fathom
