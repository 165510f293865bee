#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/strong_types.h"
#include "depth/route.h"

namespace fathom {

/// Consecutive rows of one sequence at the entry of a layer.
struct LayerRows {
  Position first;                 ///< of the first row; row i is at first + i
  std::size_t count = 0;          ///< how many rows
  std::size_t width = 0;          ///< of a hidden state
  std::span<const float> hidden;  ///< [count][width], the states entering the layer
  /// [count], for selectors that want them: by how much the head, were it put on these states,
  /// would find its likeliest token more probable than the next one, from 0 to 1.
  std::span<const float> margins = {};
};

/// Decides which of a sequence's routed rows run a layer. The forward pass asks once a layer and
/// sequence, in the order of the layers, and it is the only place that asks. Prompt rows are not
/// asked about: they run every layer [Glavas24 section 2].
class Selector {
 public:
  virtual ~Selector() = default;
  /// The layers that every token of the sequence runs; nullptr if tokens may run different ones.
  /// What a token skips then owes keys and values to those after it (docs/depth.md).
  [[nodiscard]] virtual const Route* fixed_route() const = 0;
  /// Whether select() needs the rows' margins at this layer. They cost a product with the head,
  /// which is one for all sequences of a pass, and none for rows that have not changed since.
  [[nodiscard]] virtual bool needs_margins(LayerIndex layer) const = 0;
  /// Appends to `running` the rows (0..count-1, ascending) that run `layer`.
  virtual void select(LayerIndex layer, const LayerRows& rows,
                      std::vector<std::size_t>& running) const = 0;
};

/// The same route for every token of the sequence; it does not look at the hidden states.
class RouteSelector final : public Selector {
 public:
  explicit RouteSelector(Route route) : route_(std::move(route)) {}
  [[nodiscard]] const Route* fixed_route() const override { return &route_; }
  [[nodiscard]] bool needs_margins(LayerIndex /*layer*/) const override { return false; }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override;
  [[nodiscard]] const Route& route() const { return route_; }

 private:
  Route route_;
};

/// Early exit by confidence: a token leaves after the first layer at which the margin of the head
/// on its state exceeds a threshold, and skips what follows [Schuster et al., Confident Adaptive
/// Language Modeling, 2022]. Every token runs layer 1.
class ConfidenceSelector final : public Selector {
 public:
  /// `threshold` is above 0 and at most 1, at which no token leaves: no margin is above 1.
  explicit ConfidenceSelector(double threshold) : threshold_(threshold) {}
  [[nodiscard]] const Route* fixed_route() const override { return nullptr; }
  [[nodiscard]] bool needs_margins(LayerIndex layer) const override {
    return threshold_ < 1 && layer.value > 0;
  }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override;

 private:
  double threshold_;
};

}  // namespace fathom
