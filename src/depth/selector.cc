#include "depth/selector.h"

namespace fathom {

void RouteSelector::select(LayerIndex layer, const LayerRows& rows,
                           std::vector<std::size_t>& running) const {
  if (!route_.runs(layer)) return;
  for (std::size_t row = 0; row < rows.count; ++row) running.push_back(row);
}

// A row that has left keeps its state and with it its margin, so it is out at the layers after,
// too.
void ConfidenceSelector::select(LayerIndex layer, const LayerRows& rows,
                                std::vector<std::size_t>& running) const {
  for (std::size_t row = 0; row < rows.count; ++row) {
    if (needs_margins(layer) && rows.margins[row] > threshold_) continue;
    running.push_back(row);
  }
}

}  // namespace fathom
