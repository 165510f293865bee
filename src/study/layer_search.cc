#include "study/layer_search.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace fathom {
namespace {

// Each with its loss, the best first.
std::optional<std::vector<FoundRoute>> ranked(std::vector<Route> candidates,
                                              const RouteLosses& losses) {
  std::sort(candidates.begin(), candidates.end(), runs_earlier);
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  const std::optional<std::vector<double>> found = losses(candidates);
  if (!found) return std::nullopt;
  if (found->size() != candidates.size()) throw std::logic_error("a loss for each route, please");
  std::vector<FoundRoute> result;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    result.push_back({std::move(candidates[i]), (*found)[i]});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const FoundRoute& a, const FoundRoute& b) { return a.loss < b.loss; });
  return result;
}

}  // namespace

Route without(const Route& route, LayerIndex layer) {
  std::vector<LayerIndex> layers;
  for (LayerIndex l{0}; l.value < route.depth(); ++l) {
    if (route.runs(l) && l != layer) layers.push_back(l);
  }
  return Route::of(layers, route.depth());
}

bool runs_earlier(const Route& a, const Route& b) {
  for (LayerIndex l{0}; l.value < a.depth(); ++l) {
    if (a.runs(l) != b.runs(l)) return a.runs(l);
  }
  return false;
}

std::optional<std::vector<FoundRoute>> beam_search(std::int32_t depth, std::size_t width,
                                                   const RouteLosses& losses) {
  std::vector<FoundRoute> best;
  std::vector<Route> beam{Route::full(depth)};
  for (std::int32_t cost = depth - 1; cost >= 1; --cost) {
    std::vector<Route> candidates;
    for (const Route& route : beam) {
      for (LayerIndex l{0}; l.value < depth; ++l) {
        if (route.runs(l)) candidates.push_back(without(route, l));
      }
    }
    const auto found = ranked(std::move(candidates), losses);
    if (!found) return std::nullopt;
    best.push_back(found->front());
    beam.clear();
    for (std::size_t i = 0; i < std::min(width, found->size()); ++i) {
      beam.push_back((*found)[i].route);
    }
  }
  return best;
}

std::optional<std::vector<FoundRoute>> best_blocks(std::int32_t depth,
                                                   std::span<const std::int32_t> costs,
                                                   const RouteLosses& losses) {
  std::vector<FoundRoute> best;
  for (const std::int32_t cost : costs) {
    std::vector<Route> candidates;
    for (std::int32_t begin = 0; begin <= cost; ++begin) {
      std::vector<LayerIndex> layers;
      for (LayerIndex l{0}; l.value < depth; ++l) {
        if (l.value < begin || l.value >= begin + depth - cost) layers.push_back(l);
      }
      candidates.push_back(Route::of(layers, depth));
    }
    const auto found = ranked(std::move(candidates), losses);
    if (!found) return std::nullopt;
    best.push_back(found->front());
  }
  return best;
}

std::vector<Route> by_score(std::span<const double> scores) {
  const auto depth = static_cast<std::int32_t>(scores.size());
  std::vector<LayerIndex> order;
  for (LayerIndex l{depth - 1}; l.value >= 0; --l.value) order.push_back(l);
  std::stable_sort(order.begin(), order.end(), [&](LayerIndex a, LayerIndex b) {
    return scores[a.index()] < scores[b.index()];
  });
  std::vector<Route> routes;
  Route route = Route::full(depth);
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    route = without(route, order[i]);
    routes.push_back(route);
  }
  return routes;
}

}  // namespace fathom
