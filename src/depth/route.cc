#include "depth/route.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {
namespace {

void check_cost(std::int32_t cost, std::int32_t depth) {
  if (cost < 1 || cost > depth) {
    throw InputError(fmt::format("{} layers asked for; from 1 to {} are possible", cost, depth));
  }
}

// Draws `count` of the layers first..depth-1 evenly and marks them.
void draw_layers(std::vector<std::uint8_t>& runs, std::size_t first, std::size_t count,
                 std::uint64_t seed, std::uint64_t sequence) {
  std::vector<std::size_t> layers;
  for (std::size_t l = first; l < runs.size(); ++l) layers.push_back(l);
  RandomStream stream({.seed = seed, .purpose = RandomPurpose::route, .sequence = sequence});
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t j = i + stream.below(layers.size() - i);
    std::swap(layers[i], layers[j]);
    runs[layers[i]] = 1;
  }
}

}  // namespace

Route::Route(std::vector<std::uint8_t> runs)
    : runs_(std::move(runs)),
      cost_(static_cast<std::int32_t>(std::count(runs_.begin(), runs_.end(), 1))) {}

Route Route::full(std::int32_t depth) { return first(depth, depth); }

Route Route::first(std::int32_t cost, std::int32_t depth) {
  check_cost(cost, depth);
  std::vector<std::uint8_t> runs(static_cast<std::size_t>(depth), 0);
  std::fill_n(runs.begin(), cost, std::uint8_t{1});
  return Route(std::move(runs));
}

Route Route::uniform(std::int32_t cost, std::int32_t depth) {
  check_cost(cost, depth);
  std::vector<std::uint8_t> runs(static_cast<std::size_t>(depth), 0);
  std::int64_t run = 0;
  // In integers, so that no rounding decides: run <= l * c / L, where l layers came before.
  for (std::int64_t before = 0; before < depth; ++before) {
    if (before == 0 || depth * run <= before * cost) {
      runs[static_cast<std::size_t>(before)] = 1;
      ++run;
    }
  }
  return Route(std::move(runs));
}

Route Route::random(std::int32_t cost, std::int32_t depth, std::uint64_t seed,
                    std::uint64_t sequence) {
  check_cost(cost, depth);
  std::vector<std::uint8_t> runs(static_cast<std::size_t>(depth), 0);
  runs[0] = 1;
  draw_layers(runs, 1, static_cast<std::size_t>(cost) - 1, seed, sequence);
  return Route(std::move(runs));
}

Route Route::random_free(std::int32_t cost, std::int32_t depth, std::uint64_t seed,
                         std::uint64_t sequence) {
  check_cost(cost, depth);
  std::vector<std::uint8_t> runs(static_cast<std::size_t>(depth), 0);
  draw_layers(runs, 0, static_cast<std::size_t>(cost), seed, sequence);
  return Route(std::move(runs));
}

Route Route::block(std::int32_t cost, std::int32_t depth) {
  check_cost(cost, depth);
  std::vector<std::uint8_t> runs(static_cast<std::size_t>(depth), 1);
  const std::int32_t before = (cost + 1) / 2;
  std::fill_n(runs.begin() + before, depth - cost, std::uint8_t{0});
  return Route(std::move(runs));
}

Route Route::of(std::span<const LayerIndex> layers, std::int32_t depth) {
  std::vector<std::uint8_t> runs(static_cast<std::size_t>(depth), 0);
  for (const LayerIndex layer : layers) {
    if (layer.value < 0 || layer.value >= depth) {
      throw InputError(
          fmt::format("layer {} asked for; the model has layers 1 to {}", layer.number(), depth));
    }
    runs[layer.index()] = 1;
  }
  if (layers.empty()) throw InputError("a route runs at least one layer");
  return Route(std::move(runs));
}

std::string Route::to_string() const {
  std::string text;
  for (std::size_t begin = 0; begin < runs_.size(); ++begin) {
    if (runs_[begin] == 0) continue;
    std::size_t end = begin;
    while (end + 1 < runs_.size() && runs_[end + 1] != 0) ++end;
    if (!text.empty()) text += ',';
    text += begin == end ? fmt::format("{}", begin + 1) : fmt::format("{}-{}", begin + 1, end + 1);
    begin = end;
  }
  return text;
}

}  // namespace fathom
