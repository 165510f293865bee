#include "model/controller_file.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <limits>
#include <map>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/safetensors_writer.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

ControllerFile example() {
  std::vector<GateWeights> gates;
  for (std::size_t g = 0; g < 3; ++g) {
    GateWeights gate{.weight = std::vector<float>(8), .bias = {1.5F, -0.25F}};
    for (std::size_t i = 0; i < 8; ++i) gate.weight[i] = static_cast<float>(g * 8 + i) / 16;
    gates.push_back(gate);
  }
  return {.controllers = SkipControllers(5, 4, ControllerInput::fixed, gates),
          .alpha = 2.5,
          .model_sha256 = "cafe"};
}

TEST(ControllerFile, WhatIsWrittenIsRead) {
  const TestFolder folder;
  const auto path = folder.path() / "controller.safetensors";
  const ControllerFile written = example();
  write_controllers(path, written);
  const ControllerFile read = read_controllers(path);
  EXPECT_EQ(read.controllers.depth(), 5);
  EXPECT_EQ(read.controllers.width(), 4U);
  EXPECT_EQ(read.controllers.input(), ControllerInput::fixed);
  EXPECT_EQ(read.alpha, 2.5);
  EXPECT_EQ(read.model_sha256, "cafe");
  for (std::size_t g = 0; g < 3; ++g) {
    EXPECT_EQ(read.controllers.gates()[g].weight, written.controllers.gates()[g].weight);
    EXPECT_EQ(read.controllers.gates()[g].bias, written.controllers.gates()[g].bias);
  }
}

// What a file consists of, to be damaged.
struct Parts {
  nlohmann::ordered_json metadata{{"format", "fathom skip controllers"},
                                  {"version", "1"},
                                  {"model_layers", "4"},
                                  {"gated_layers", "2-3"},
                                  {"input", "hidden"},
                                  {"alpha", "2"},
                                  {"model_sha256", ""}};
  std::map<std::string, std::pair<std::vector<std::size_t>, std::vector<float>>> tensors{
      {"layers.1.gate.weight", {{2, 3}, std::vector<float>(6, 1)}},
      {"layers.1.gate.bias", {{2}, std::vector<float>(2, 1)}},
      {"layers.2.gate.weight", {{2, 3}, std::vector<float>(6, 1)}},
      {"layers.2.gate.bias", {{2}, std::vector<float>(2, 1)}}};

  void write(const std::filesystem::path& path) const {
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors) {
      views.push_back(
          {.name = name, .shape = tensor.first, .bytes = std::as_bytes(std::span(tensor.second))});
    }
    write_safetensors(path, views, metadata);
  }
};

TEST(ControllerFile, DamageIsToldByFileAndPlace) {
  const TestFolder folder;
  const auto path = folder.path() / "controller.safetensors";
  const auto problem = [&](const std::function<void(Parts&)>& damage) {
    Parts parts;
    damage(parts);
    parts.write(path);
    return error_of<FileError>([&] { read_controllers(path); });
  };
  Parts().write(path);
  EXPECT_EQ(read_controllers(path).controllers.depth(), 4);
  const std::map<std::string, std::string> bad_metadata{
      {"format", "pt"},        {"version", "2"},          {"model_layers", "2"},
      {"gated_layers", "1-4"}, {"input", "hidden state"}, {"alpha", "nan"}};
  for (const auto& entry : bad_metadata) {
    const std::string& key = entry.first;
    const std::string& value = entry.second;
    EXPECT_THAT(problem([&](Parts& parts) { parts.metadata[key] = value; }),
                AllOf(HasSubstr(path.string()), HasSubstr(key), HasSubstr("expected")));
    EXPECT_THAT(problem([&](Parts& parts) { parts.metadata.erase(key); }),
                AllOf(HasSubstr(path.string()), HasSubstr(key), HasSubstr("missing")));
  }
  EXPECT_THAT(problem([](Parts& parts) { parts.metadata["model_layers"] = "99999999"; }),
              HasSubstr("model_layers"));
  EXPECT_THAT(problem([](Parts& parts) { parts.metadata["alpha"] = "-1"; }), HasSubstr("alpha"));
  EXPECT_THAT(problem([](Parts& parts) {
                parts.metadata["model_layers"] = "5";
                parts.metadata["gated_layers"] = "2-4";
              }),
              AllOf(HasSubstr("4 tensors"), HasSubstr("6")));
  EXPECT_THAT(problem([](Parts& parts) { parts.tensors.erase("layers.1.gate.weight"); }),
              HasSubstr("layers.1.gate.weight"));
  EXPECT_THAT(problem([](Parts& parts) { parts.tensors.erase("layers.2.gate.bias"); }),
              HasSubstr("3 tensors"));
  EXPECT_THAT(problem([](Parts& parts) {
                auto node = parts.tensors.extract("layers.2.gate.bias");
                node.key() = "layers.3.gate.bias";
                parts.tensors.insert(std::move(node));
              }),
              HasSubstr("layers.2.gate.bias"));
  EXPECT_THAT(problem([](Parts& parts) {
                parts.tensors["layers.1.gate.weight"].first = {3, 2};
              }),
              AllOf(HasSubstr("layers.1.gate.weight"), HasSubstr("[2][width]")));
  EXPECT_THAT(problem([](Parts& parts) {
                parts.tensors["layers.2.gate.weight"] = {{2, 4}, std::vector<float>(8)};
              }),
              HasSubstr("layers.2.gate.weight"));
  EXPECT_THAT(problem([](Parts& parts) {
                parts.tensors["layers.2.gate.weight"].second[4] =
                    std::numeric_limits<float>::quiet_NaN();
              }),
              AllOf(HasSubstr("layer 3"), HasSubstr("not finite")));
}

// A file must not reach the terminal by way of a message.
TEST(ControllerFile, MessagesArePrintable) {
  const TestFolder folder;
  const auto path = folder.path() / "controller.safetensors";
  for (const std::string key :
       {"format", "version", "model_layers", "gated_layers", "input", "alpha"}) {
    Parts parts;
    parts.metadata[key] = "\x1b[2J" + std::string(1000, '5');
    parts.write(path);
    const std::string message = error_of<FileError>([&] { read_controllers(path); });
    EXPECT_THAT(message, AllOf(HasSubstr(key), HasSubstr("'\\x1b[2J555")));
    EXPECT_TRUE(std::ranges::all_of(message, [](char c) { return c >= ' ' && c <= '~'; })) << key;
    EXPECT_LT(message.size(), 500U);
  }
}

TEST(ControllerFile, ABeginningOfAFileIsRefused) {
  const TestFolder folder;
  const auto path = folder.path() / "controller.safetensors";
  write_controllers(path, example());
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (std::size_t size = 0; size < bytes.size(); size += 1 + size / 16) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(size));
    EXPECT_THAT(error_of<FileError>([&] { read_controllers(path); }), HasSubstr(path.string()));
  }
}

}  // namespace
}  // namespace fathom
