#pragma once

#include <cstdint>
#include <vector>

#include "depth/route.h"

namespace fathom {

/// The bytes that a decoding step reads, by part. What a route saves is its share of the layers.
struct TokenBytes {
  std::uint64_t head = 0;                ///< final norm and output head
  std::vector<std::uint64_t> layers;     ///< weights of each layer
  std::uint64_t cache_per_position = 0;  ///< keys and values of one position in one layer
  /// An adapter's share of each layer; empty if there is none.
  std::vector<std::uint64_t> adapter = {};
  bool adapter_at_full_depth = true;  ///< whether it acts on the route of all layers

  /// Bytes of a step on a route, with `context` positions in the cache.
  [[nodiscard]] std::uint64_t of(const Route& route, std::uint64_t context) const;
};

/// How much faster than at full depth a step on `route` can be, if reading these bytes is all it
/// does.
double speedup_ceiling(const TokenBytes& bytes, const Route& route, std::uint64_t context);

}  // namespace fathom
