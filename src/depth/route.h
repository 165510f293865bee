#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/strong_types.h"

namespace fathom {

/// The set of layers that a token runs, of a model with `depth()` layers. A value. It is never
/// empty: a model with no layer run is none.
class Route {
 public:
  /// All `depth` layers (at least 1).
  static Route full(std::int32_t depth);
  /// Early exit: the first `cost` layers. `cost` is from 1 to `depth`, here and below; anything
  /// else is an InputError that says the range.
  static Route first(std::int32_t cost, std::int32_t depth);
  /// Evenly spaced layers [Glavas24 eq. 2], layer 1 among them.
  static Route uniform(std::int32_t cost, std::int32_t depth);
  /// Layer 1 and cost-1 others, drawn evenly [Glavas24 3.1].
  static Route random(std::int32_t cost, std::int32_t depth, std::uint64_t seed,
                      std::uint64_t sequence);
  /// `cost` layers drawn evenly; layer 1 need not be among them [Glavas24 A.3.2].
  static Route random_free(std::int32_t cost, std::int32_t depth, std::uint64_t seed,
                           std::uint64_t sequence);
  /// The layers around a consecutive block in the middle, which is left out: the first
  /// ceil(cost / 2) and the last floor(cost / 2). What [Glavas24 A.1.1] compares uniform skipping
  /// with; where the block lies is our choice.
  static Route block(std::int32_t cost, std::int32_t depth);
  /// These layers. Throws InputError if there is none or one is out of range.
  static Route of(std::span<const LayerIndex> layers, std::int32_t depth);

  [[nodiscard]] bool runs(LayerIndex layer) const { return runs_[layer.index()] != 0; }
  [[nodiscard]] std::int32_t depth() const { return static_cast<std::int32_t>(runs_.size()); }
  /// How many layers run: the cost of a token [Glavas24 section 2].
  [[nodiscard]] std::int32_t cost() const { return cost_; }
  /// The layers as people write them, from 1: "1,3,5-9".
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const Route&, const Route&) = default;

 private:
  explicit Route(std::vector<std::uint8_t> runs);

  std::vector<std::uint8_t> runs_;
  std::int32_t cost_ = 0;
};

}  // namespace fathom
