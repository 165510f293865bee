#include "depth/selector.h"

namespace fathom {

void RouteSelector::select(LayerIndex layer, const LayerRows& rows,
                           std::vector<std::size_t>& running) const {
  if (!route_.runs(layer)) return;
  for (std::size_t row = 0; row < rows.count; ++row) running.push_back(row);
}

}  // namespace fathom
