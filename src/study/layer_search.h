#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "depth/route.h"

namespace fathom {

/// The loss of each of some routes: the lower the better. None says that the search is to stop.
using RouteLosses = std::function<std::optional<std::vector<double>>(std::span<const Route>)>;

/// A route with its loss.
struct FoundRoute {
  Route route;
  double loss = 0;
};

/// The route without one of the layers that it runs; it must run another one.
Route without(const Route& route, LayerIndex layer);

/// Searches a good route for every cost, from `depth`-1 layers down to 1: from the `width` (at
/// least 1) best routes of a cost, all routes that run one layer less are candidates for the next.
/// Width 1 is greedy backward elimination. Of equal losses the route that runs more of the first
/// layers wins. `losses` is asked once a cost, about each route once. Returns the best route of
/// each cost in the order found, or nothing if `losses` gave none.
std::optional<std::vector<FoundRoute>> beam_search(std::int32_t depth, std::size_t width,
                                                   const RouteLosses& losses);

/// Which consecutive block of depth - cost layers is best left out, for each of the costs (from 1
/// to depth - 1). Ties and `losses` are as above.
std::optional<std::vector<FoundRoute>> best_blocks(std::int32_t depth,
                                                   std::span<const std::int32_t> costs,
                                                   const RouteLosses& losses);

/// Routes that leave out the layers of the least score first, for each cost from depth - 1 down to
/// 1; of equal scores the later layer goes first.
std::vector<Route> by_score(std::span<const double> scores);

/// Orders routes by their layers: at the first layer that only one of them runs, that one is first.
/// Routes that begin alike stand together.
bool runs_earlier(const Route& a, const Route& b);

}  // namespace fathom
