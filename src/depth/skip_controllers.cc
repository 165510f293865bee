#include "depth/skip_controllers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"

namespace fathom {
namespace {

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

// So many sums side by side, so that the compiler may use vectors.
constexpr std::size_t lanes = 8;

double dot(std::span<const double> weight, std::span<const float> state) {
  std::array<double, lanes> sums{};
  const std::size_t whole = weight.size() / lanes * lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t k = 0; k < lanes; ++k) sums[k] += weight[i + k] * state[i + k];
  }
  for (std::size_t i = whole; i < weight.size(); ++i) sums[i - whole] += weight[i] * state[i];
  double sum = 0;
  for (const double each : sums) sum += each;
  return sum;
}

}  // namespace

std::string_view name(ControllerInput input) {
  return input == ControllerInput::hidden ? "hidden" : "fixed";
}

ControllerInput parse_controller_input(std::string_view text) {
  for (const ControllerInput input : {ControllerInput::hidden, ControllerInput::fixed}) {
    if (text == name(input)) return input;
  }
  throw InputError(fmt::format("controllers' input '{}': expected hidden or fixed", text));
}

SkipControllers::SkipControllers(std::int32_t depth, std::size_t width, ControllerInput input,
                                 std::vector<GateWeights> gates)
    : depth_(depth), width_(width), input_(input), gates_(std::move(gates)) {
  if (depth < 3) {
    throw InputError(
        fmt::format("a model of {} layers has none between the first and the last", depth));
  }
  if (gates_.size() != static_cast<std::size_t>(depth - 2)) {
    throw InputError(
        fmt::format("{} gates found; all layers of {} but the first and the last need "
                    "one",
                    gates_.size(), depth));
  }
  for (std::size_t g = 0; g < gates_.size(); ++g) {
    const GateWeights& gate = gates_[g];
    if (gate.weight.size() != 2 * width) {
      throw InputError(fmt::format("gate of layer {}: {} weights found, 2 x {} expected", g + 2,
                                   gate.weight.size(), width));
    }
    if (!all_finite(gate.weight) || !all_finite(gate.bias)) {
      throw InputError(fmt::format("gate of layer {}: a weight is not finite", g + 2));
    }
    Odds odds{.weight = {}, .bias = static_cast<double>(gate.bias[0]) - gate.bias[1]};
    for (std::size_t i = 0; i < width; ++i) {
      const double difference = static_cast<double>(gate.weight[i]) - gate.weight[width + i];
      if (input == ControllerInput::hidden) {
        odds.weight.push_back(difference);
      } else {
        odds.bias += difference;
      }
    }
    odds_.push_back(std::move(odds));
  }
}

double SkipControllers::execute_probability(LayerIndex layer, std::span<const float> state) const {
  const Odds& odds = odds_.at(layer.index() - 1);
  return 1 / (1 + std::exp(-(odds.bias + dot(odds.weight, state))));
}

GateRule parse_gate_rule(std::string_view text) {
  if (text == "sample") return {};
  if (text == "argmax") return {.threshold = 0.5};
  constexpr std::string_view beginning = "threshold:";
  if (text.starts_with(beginning)) {
    const std::string_view argument = text.substr(beginning.size());
    double value = 0;
    const auto [end, error] =
        std::from_chars(argument.data(), argument.data() + argument.size(), value);
    const bool whole = error == std::errc{} && end == argument.data() + argument.size();
    if (whole && value >= 0 && value <= 1) return {.threshold = value};
    throw InputError(
        fmt::format("gates '{}': expected a probability from 0 to 1, found '{}'", text, argument));
  }
  throw InputError(fmt::format("gates '{}': expected sample, argmax or threshold:T", text));
}

std::string to_string(const GateRule& rule) {
  if (!rule.threshold) return "sample";
  return rule.threshold == 0.5 ? "argmax" : fmt::format("threshold:{}", *rule.threshold);
}

double gate_draw(std::uint64_t seed, std::uint64_t sequence, Position position, LayerIndex layer) {
  return RandomStream({.seed = seed,
                       .purpose = RandomPurpose::gate,
                       .sequence = sequence,
                       .position = static_cast<std::uint32_t>(position.value),
                       .layer = static_cast<std::uint32_t>(layer.value)})
      .uniform();
}

void ControllerSelector::select(LayerIndex layer, const LayerRows& rows,
                                std::vector<std::size_t>& running) const {
  for (std::size_t row = 0; row < rows.count; ++row) {
    if (controllers_->has_gate(layer)) {
      const double probability = controllers_->execute_probability(
          layer, rows.hidden.subspan(row * rows.width, rows.width));
      const Position position{rows.first.value + static_cast<std::int32_t>(row)};
      if (!runs(layer, position, probability)) continue;
    }
    running.push_back(row);
  }
}

bool ControllerSelector::runs(LayerIndex layer, Position position, double probability) const {
  if (rule_.threshold) return probability >= *rule_.threshold;
  return gate_draw(seed_, sequence_, position, layer) < probability;
}

}  // namespace fathom
