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
};

/// Decides which of a sequence's routed rows run a layer. The forward pass asks once a layer and
/// sequence, in the order of the layers, and it is the only place that asks. Prompt rows are not
/// asked about: they run every layer [Glavas24 section 2].
class Selector {
 public:
  virtual ~Selector() = default;
  /// Appends to `running` the rows (0..count-1, ascending) that run `layer`.
  virtual void select(LayerIndex layer, const LayerRows& rows,
                      std::vector<std::size_t>& running) const = 0;
};

/// The same route for every token of the sequence; it does not look at the hidden states.
class RouteSelector final : public Selector {
 public:
  explicit RouteSelector(Route route) : route_(std::move(route)) {}
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override;
  [[nodiscard]] const Route& route() const { return route_; }

 private:
  Route route_;
};

}  // namespace fathom
