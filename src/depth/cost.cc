#include "depth/cost.h"

#include <cstddef>

namespace fathom {

std::uint64_t TokenBytes::of(const Route& route, std::uint64_t context) const {
  const bool adapted = !adapter.empty() && (adapter_at_full_depth || route.cost() != route.depth());
  std::uint64_t total = head;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (route.runs(LayerIndex{static_cast<std::int32_t>(l)})) {
      total += layers[l] + cache_per_position * context;
      if (adapted) total += adapter[l];
    }
  }
  return total;
}

double speedup_ceiling(const TokenBytes& bytes, const Route& route, std::uint64_t context) {
  return static_cast<double>(bytes.of(Route::full(route.depth()), context)) /
         static_cast<double>(bytes.of(route, context));
}

}  // namespace fathom
