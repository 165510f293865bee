#include "depth/ranking.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {

Ranking::Ranking(std::int32_t depth, std::vector<Route> routes) : depth_(depth) {
  routes_.emplace(depth, Route::full(depth));
  for (Route& route : routes) {
    if (route.depth() != depth) {
      throw InputError(
          fmt::format("a route of {} layers in a ranking of {}", route.depth(), depth));
    }
    const std::int32_t cost = route.cost();
    const auto [there, added] = routes_.emplace(cost, std::move(route));
    if (!added && cost != depth) {
      throw InputError(fmt::format("the ranking has two routes that run {} layers", cost));
    }
  }
}

const Route& Ranking::route(std::int32_t cost) const {
  const auto found = routes_.find(cost);
  if (found != routes_.end()) return found->second;
  std::string costs;
  for (const auto& [each, route] : routes_) {
    costs += fmt::format("{}{}", costs.empty() ? "" : ", ", each);
  }
  throw InputError(fmt::format("{} layers asked for; the ranking has {}", cost, costs));
}

}  // namespace fathom
