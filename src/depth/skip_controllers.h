#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_types.h"
#include "depth/selector.h"

namespace fathom {

/// What skip controllers look at.
enum class ControllerInput {
  hidden,  ///< the state that enters the layer
  fixed,   ///< a vector of ones: each layer then runs with a probability of its own
};
/// "hidden" or "fixed".
std::string_view name(ControllerInput input);
/// Throws InputError on anything else.
ControllerInput parse_controller_input(std::string_view text);

/// One layer's linear map to two logits: to execute the layer, and to skip it.
struct GateWeights {
  std::vector<float> weight;  ///< [2][width]
  std::array<float, 2> bias{};
};

/// Skip controllers [Glavas24 3.2]: all layers of a model but the first and the last have one,
/// which says how probably a token runs the layer. A value.
class SkipControllers {
 public:
  /// `gates` are of layers 2 to depth - 1, in this order. Throws InputError if there are more or
  /// fewer, one is not of this width, or a number is not finite.
  SkipControllers(std::int32_t depth, std::size_t width, ControllerInput input,
                  std::vector<GateWeights> gates);

  [[nodiscard]] std::int32_t depth() const { return depth_; }
  [[nodiscard]] std::size_t width() const { return width_; }
  [[nodiscard]] ControllerInput input() const { return input_; }
  [[nodiscard]] std::span<const GateWeights> gates() const { return gates_; }

  /// Whether the layer has a gate; the others run for every token.
  [[nodiscard]] bool has_gate(LayerIndex layer) const {
    return layer.value > 0 && layer.value < depth_ - 1;
  }
  /// The probability of running a layer that has a gate, for a token that enters it with `state`,
  /// [width]: the softmax of the two logits, of which the difference is added up in double, in an
  /// order that depends on the width alone.
  [[nodiscard]] double execute_probability(LayerIndex layer, std::span<const float> state) const;

 private:
  // The difference of the two logits is all that matters.
  struct Odds {
    std::vector<double> weight;  // of a state; empty for a fixed input
    double bias = 0;
  };

  std::int32_t depth_;
  std::size_t width_;
  ControllerInput input_;
  std::vector<GateWeights> gates_;
  std::vector<Odds> odds_;
};

/// How a gate's probability becomes a decision.
struct GateRule {
  /// A token runs the layer from this probability on; where there is none, it is drawn.
  std::optional<double> threshold;
  friend bool operator==(const GateRule&, const GateRule&) = default;
};
/// "sample", "argmax", which is threshold:0.5, or "threshold:T" with T from 0 to 1; anything else
/// is an InputError.
GateRule parse_gate_rule(std::string_view text);
std::string to_string(const GateRule& rule);

/// The draw, uniform in [0, 1), that a sampled gate's probability must exceed for the token to run
/// the layer. That is what the two Gumbel variables of the training amount to. It depends on
/// nothing but its arguments.
double gate_draw(std::uint64_t seed, std::uint64_t sequence, Position position, LayerIndex layer);

/// Each token runs the layers that their controllers say, and those without.
class ControllerSelector final : public Selector {
 public:
  /// `seed` and `sequence` key the draws.
  ControllerSelector(std::shared_ptr<const SkipControllers> controllers, const GateRule& rule,
                     std::uint64_t seed, std::uint64_t sequence)
      : controllers_(std::move(controllers)), rule_(rule), seed_(seed), sequence_(sequence) {}

  [[nodiscard]] const Route* fixed_route() const override { return nullptr; }
  [[nodiscard]] bool needs_margins(LayerIndex /*layer*/) const override { return false; }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override;
  /// Whether a token at `position` with this probability runs the layer.
  [[nodiscard]] bool runs(LayerIndex layer, Position position, double probability) const;

 private:
  std::shared_ptr<const SkipControllers> controllers_;
  GateRule rule_;
  std::uint64_t seed_, sequence_;
};

}  // namespace fathom
