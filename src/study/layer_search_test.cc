#include "study/layer_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/random.h"

namespace fathom {
namespace {

// A loss of its own for every set of layers: any landscape, not one where layers add up.
double any_loss(const Route& route, std::uint64_t seed) {
  RandomStream stream({.seed = seed, .sequence = sequence_key(route.to_string())});
  return stream.uniform();
}

// One where layers add up, which greedy search solves.
double additive_loss(const Route& route, const std::vector<double>& worth) {
  double loss = 0;
  for (LayerIndex l{0}; l.value < route.depth(); ++l) {
    if (!route.runs(l)) loss += worth[l.index()];
  }
  return loss;
}

RouteLosses losses_of(const std::function<double(const Route&)>& loss) {
  return [loss](std::span<const Route> routes) {
    std::vector<double> result;
    for (const Route& route : routes) result.push_back(loss(route));
    return std::optional(result);
  };
}

std::vector<Route> all_routes(std::int32_t depth, std::int32_t cost) {
  std::vector<Route> routes;
  for (std::uint32_t set = 1; set < (1U << depth); ++set) {
    std::vector<LayerIndex> layers;
    for (std::int32_t l = 0; l < depth; ++l) {
      if ((set >> l & 1U) != 0) layers.emplace_back(l);
    }
    if (static_cast<std::int32_t>(layers.size()) == cost)
      routes.push_back(Route::of(layers, depth));
  }
  return routes;
}

double least(std::int32_t depth, std::int32_t cost,
             const std::function<double(const Route&)>& loss) {
  double best = std::numeric_limits<double>::infinity();
  for (const Route& route : all_routes(depth, cost)) best = std::min(best, loss(route));
  return best;
}

TEST(LayerSearch, ABeamAsWideAsThereAreRoutesFindsTheBest) {
  for (std::int32_t depth = 1; depth <= 7; ++depth) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto loss = [&](const Route& route) { return any_loss(route, seed); };
      const auto found = beam_search(depth, 1000, losses_of(loss)).value();
      ASSERT_EQ(found.size(), static_cast<std::size_t>(depth) - 1);
      for (const FoundRoute& each : found) {
        EXPECT_EQ(each.loss, least(depth, each.route.cost(), loss));
        EXPECT_EQ(each.loss, loss(each.route));
      }
    }
  }
}

TEST(LayerSearch, EliminationTakesTheBestStepEachTime) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto loss = [&](const Route& route) { return any_loss(route, seed); };
    const auto found = beam_search(7, 1, losses_of(loss)).value();
    Route route = Route::full(7);
    for (const FoundRoute& each : found) {
      double best = std::numeric_limits<double>::infinity();
      for (LayerIndex l{0}; l.value < 7; ++l) {
        if (route.runs(l)) best = std::min(best, loss(without(route, l)));
      }
      EXPECT_EQ(each.loss, best);
      EXPECT_EQ(each.route.cost(), route.cost() - 1);
      for (LayerIndex l{0}; l.value < 7; ++l) {
        EXPECT_TRUE(route.runs(l) || !each.route.runs(l));  // nested
      }
      route = each.route;
    }
  }
}

TEST(LayerSearch, EliminationIsEnoughWhereLayersAddUp) {
  const std::vector<double> worth{5, 0.5, 3, 1, 0.25, 2};
  const auto loss = [&](const Route& route) { return additive_loss(route, worth); };
  const auto found = beam_search(6, 1, losses_of(loss)).value();
  const std::vector<Route> scored = by_score(worth);
  ASSERT_EQ(found.size(), scored.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].loss, least(6, found[i].route.cost(), loss));
    EXPECT_EQ(found[i].route, scored[i]);
  }
  EXPECT_EQ(found[0].route.to_string(), "1-4,6");
  EXPECT_EQ(found[4].route.to_string(), "1");
}

TEST(LayerSearch, AWiderBeamKeepsWhatGreedyLosesHere) {
  // Without layers 1 and 2 together nothing is lost, without either alone much.
  const auto loss = [](const Route& route) {
    const bool first = route.runs(LayerIndex{0});
    const bool second = route.runs(LayerIndex{1});
    if (first != second) return 0.5;
    return first ? 0.25 * (4 - route.cost()) : 0.0;
  };
  EXPECT_GT(beam_search(4, 1, losses_of(loss)).value()[1].loss, 0.0);
  EXPECT_EQ(beam_search(4, 4, losses_of(loss)).value()[1].loss, 0.0);
}

TEST(LayerSearch, AsksAboutEachRouteOnceAndInOrder) {
  std::set<std::string> seen;
  std::size_t calls = 0;
  const auto found = beam_search(6, 3, [&](std::span<const Route> routes) {
    ++calls;
    std::vector<double> losses;
    for (std::size_t i = 0; i < routes.size(); ++i) {
      EXPECT_TRUE(i == 0 || runs_earlier(routes[i - 1], routes[i]));
      EXPECT_TRUE(seen.insert(routes[i].to_string()).second);
      losses.push_back(1);
    }
    return std::optional(losses);
  });
  EXPECT_EQ(calls, 5U);
  // All are equal: the first layers stay.
  for (const FoundRoute& each : found.value()) {
    EXPECT_EQ(each.route, Route::first(each.route.cost(), 6));
  }
}

TEST(LayerSearch, Stops) {
  std::size_t calls = 0;
  const auto stop_at_third = [&](std::span<const Route> routes) {
    return ++calls == 3 ? std::nullopt : std::optional(std::vector<double>(routes.size()));
  };
  EXPECT_FALSE(beam_search(6, 2, stop_at_third));
  EXPECT_EQ(calls, 3U);
  const std::vector<std::int32_t> costs{2, 3};
  EXPECT_FALSE(best_blocks(6, costs, [](std::span<const Route>) { return std::nullopt; }));
}

TEST(LayerSearch, TheBestBlockIsTheBestOfAllBlocks) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto loss = [&](const Route& route) { return any_loss(route, seed); };
    const std::vector<std::int32_t> costs{1, 2, 3, 4, 5};
    const auto found = best_blocks(6, costs, losses_of(loss)).value();
    ASSERT_EQ(found.size(), costs.size());
    for (std::size_t i = 0; i < costs.size(); ++i) {
      double best = std::numeric_limits<double>::infinity();
      for (const Route& route : all_routes(6, costs[i])) {
        // What is left out is one run of layers.
        int changes = 0;
        bool before = true;
        for (LayerIndex l{0}; l.value < 6; ++l) {
          if (before && !route.runs(l)) ++changes;
          before = route.runs(l);
        }
        if (changes == 1) best = std::min(best, loss(route));
      }
      EXPECT_EQ(found[i].loss, best);
      EXPECT_EQ(found[i].route.cost(), costs[i]);
    }
  }
}

TEST(LayerSearch, ByScoreDropsTheLeastFirst) {
  const std::vector<double> scores{0.5, 0.1, 0.1, 0.9};
  const std::vector<Route> routes = by_score(scores);
  ASSERT_EQ(routes.size(), 3U);
  EXPECT_EQ(routes[0].to_string(), "1-2,4");
  EXPECT_EQ(routes[1].to_string(), "1,4");
  EXPECT_EQ(routes[2].to_string(), "4");
}

}  // namespace
}  // namespace fathom
