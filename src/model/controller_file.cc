#include "model/controller_file.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/dequantize.h"
#include "formats/printable.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"

namespace fathom {
namespace {

// Keys of the metadata.
constexpr auto format_key = "format";
constexpr auto version_key = "version";
constexpr auto depth_key = "model_layers";
constexpr auto gated_key = "gated_layers";
constexpr auto input_key = "input";
constexpr auto alpha_key = "alpha";
constexpr auto model_key = "model_sha256";

constexpr auto format_name = "fathom skip controllers";
constexpr auto format_version = "1";
constexpr std::int32_t most_layers = 65536;  // far more than any model has

// The layers that have gates, as people count them.
std::string gated_layers(std::int32_t depth) {
  return depth == 3 ? "2" : fmt::format("2-{}", depth - 1);
}

/// The strings of a header.
class Metadata {
 public:
  explicit Metadata(const std::filesystem::path& path)
      : file_(path.string()), values_(read_safetensors_metadata(path)) {}

  [[noreturn]] void fail(std::string_view key, std::string_view problem) const {
    throw FileError(file_, fmt::format("metadata '{}'", key), problem);
  }

  [[nodiscard]] const std::string& require(const std::string& key) const {
    const auto value = values_.find(key);
    if (value == values_.end()) fail(key, "missing");
    return value->second;
  }

  void expect(const std::string& key, std::string_view expected) const {
    const std::string& found = require(key);
    if (found != expected)
      fail(key, fmt::format("{} found, '{}' expected", printable_name(found), expected));
  }

  template <class Number>
  [[nodiscard]] Number require_number(const std::string& key, Number least, Number most) const {
    const std::string& text = require(key);
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    if (!whole || !(value >= least && value <= most)) {
      fail(key, fmt::format("{} found, a number from {} to {} expected", printable_name(text),
                            least, most));
    }
    return value;
  }

 private:
  std::string file_;
  std::map<std::string, std::string> values_;
};

std::size_t width_of(const TensorSource& source) {
  const std::string first = gate_weight_name(LayerIndex{1});
  const TensorView* const weight = source.find(first);
  if (weight == nullptr) throw FileError(source.origin(), first, "missing");
  if (weight->shape.size() != 2 || weight->shape[0] != 2 || weight->shape[1] == 0) {
    throw FileError(source.origin(), first, "a shape [2][width] expected");
  }
  return weight->shape[1];
}

GateWeights read_gate(const TensorSource& source, LayerIndex layer, std::size_t width) {
  const TensorView& weight =
      source.require(gate_weight_name(layer), std::array{std::size_t{2}, width});
  const TensorView& bias = source.require(gate_bias_name(layer), std::array{std::size_t{2}});
  GateWeights gate{.weight = std::vector<float>(2 * width)};
  dequantize(weight.type, weight.bytes, gate.weight);
  dequantize(bias.type, bias.bytes, gate.bias);
  return gate;
}

}  // namespace

std::string gate_weight_name(LayerIndex layer) {
  return fmt::format("layers.{}.gate.weight", layer.value);
}

std::string gate_bias_name(LayerIndex layer) {
  return fmt::format("layers.{}.gate.bias", layer.value);
}

ControllerFile read_controllers(const std::filesystem::path& path) {
  const TensorSource source = open_safetensors(path);
  const Metadata metadata(path);
  metadata.expect(format_key, format_name);
  metadata.expect(version_key, format_version);
  const auto depth = metadata.require_number<std::int32_t>(depth_key, 3, most_layers);
  metadata.expect(gated_key, gated_layers(depth));
  const std::size_t width = width_of(source);
  const std::size_t tensors = 2 * static_cast<std::size_t>(depth - 2);
  if (source.tensors().size() != tensors) {
    throw FileError(source.origin(), "",
                    fmt::format("{} tensors found; {} layers with gates have {}",
                                source.tensors().size(), depth - 2, tensors));
  }
  std::vector<GateWeights> gates;
  for (LayerIndex layer{1}; layer.value < depth - 1; ++layer) {
    gates.push_back(read_gate(source, layer, width));
  }
  const ControllerInput input = [&] {
    const std::string& text = metadata.require(input_key);
    for (const ControllerInput each : {ControllerInput::hidden, ControllerInput::fixed}) {
      if (text == name(each)) return each;
    }
    metadata.fail(input_key,
                  fmt::format("{} found, 'hidden' or 'fixed' expected", printable_name(text)));
  }();
  try {
    return {
        .controllers = SkipControllers(depth, width, input, std::move(gates)),
        .alpha = metadata.require_number<double>(alpha_key, 0, std::numeric_limits<double>::max()),
        .model_sha256 = metadata.require(model_key)};
  } catch (const FileError&) {
    throw;
  } catch (const InputError& error) {
    throw FileError(source.origin(), "", error.what());
  }
}

ControllerFile read_controllers_of(const std::filesystem::path& path, const ModelConfig& model) {
  ControllerFile file = read_controllers(path);
  const SkipControllers& controllers = file.controllers;
  if (controllers.depth() != model.depth() || controllers.width() != model.width) {
    throw FileError(
        path.string(), "",
        fmt::format("controllers of a model of {} layers and a width of {} found; the "
                    "model has {} and {}",
                    controllers.depth(), controllers.width(), model.depth(), model.width));
  }
  return file;
}

void write_controllers(const std::filesystem::path& path, const ControllerFile& file) {
  const SkipControllers& controllers = file.controllers;
  std::vector<TensorView> tensors;
  for (std::size_t g = 0; g < controllers.gates().size(); ++g) {
    const GateWeights& gate = controllers.gates()[g];
    const LayerIndex layer{static_cast<std::int32_t>(g) + 1};
    tensors.push_back({.name = gate_weight_name(layer),
                       .shape = {2, controllers.width()},
                       .bytes = std::as_bytes(std::span(gate.weight))});
    tensors.push_back({.name = gate_bias_name(layer),
                       .shape = {2},
                       .bytes = std::as_bytes(std::span(gate.bias))});
  }
  write_safetensors(path, tensors,
                    {{format_key, format_name},
                     {version_key, format_version},
                     {depth_key, fmt::format("{}", controllers.depth())},
                     {gated_key, gated_layers(controllers.depth())},
                     {input_key, std::string(name(controllers.input()))},
                     {alpha_key, fmt::format("{}", file.alpha)},
                     {model_key, file.model_sha256}});
}

}  // namespace fathom
