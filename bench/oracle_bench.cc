// The oracle at the sizes of [Glavas24]: n = 11,490 samples at 4, 8, 12 and 24 layers, and a
// million.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "oracle/budget_curve.h"
#include "oracle/knapsack.h"
#include "oracle/match.h"

namespace fathom {
namespace {

constexpr std::array<double, 4> depths{4, 8, 12, 24};
constexpr std::size_t cnn_dm = 11'490;
constexpr std::size_t capacities = cnn_dm * (24 - 4) / 4 + 1;

enum class Scores {
  real,    // any number
  shares,  // of up to 60 words: often equal
};
enum class Costs { layers, layer_tokens };

ChoiceTable draw_table(std::size_t n, Scores scores, Costs costs) {
  RandomStream stream({.seed = 7});
  ChoiceTable table{.choices = depths.size(), .quality = {}, .cost = {}};
  for (std::size_t s = 0; s < n; ++s) {
    const double words = static_cast<double>(1 + stream.below(60));
    const double easy = 0.3 * stream.uniform();
    const bool zero = stream.below(10) == 0;
    for (std::size_t k = 0; k < depths.size(); ++k) {
      const double quality = easy + 0.03 * static_cast<double>(k) + 0.25 * stream.uniform();
      const double tokens = costs == Costs::layers ? 1 : static_cast<double>(1 + stream.below(300));
      table.quality.push_back(zero                       ? 0
                              : scores == Scores::shares ? std::round(quality * words) / words
                                                         : quality);
      table.cost.push_back(depths.at(k) * tokens);
    }
  }
  return table;
}

// The textbook's dynamic programming over all capacities; total costs are 4 layers apart.
std::vector<double> by_dynamic_programming(const ChoiceTable& table) {
  std::vector<double> best(capacities, -std::numeric_limits<double>::infinity());
  std::vector<double> next(capacities);
  best[0] = 0;
  for (std::size_t s = 0; s < table.samples(); ++s) {
    std::fill(next.begin(), next.end(), -std::numeric_limits<double>::infinity());
    const std::size_t used = std::min(capacities, 5 * (s + 1) + 1);
    for (std::size_t k = 0; k < depths.size(); ++k) {
      const auto step = static_cast<std::size_t>(depths.at(k) - depths.front()) / 4;
      const double quality = table.quality[s * depths.size() + k];
      for (std::size_t c = step; c < used; ++c)
        next[c] = std::max(next[c], best[c - step] + quality);
    }
    std::swap(best, next);
  }
  for (std::size_t c = 1; c < capacities; ++c) best[c] = std::max(best[c], best[c - 1]);
  return best;
}

// The table's preparation and the whole curve. Fails unless it equals dynamic programming.
void whole_curve(benchmark::State& state, Scores scores) {
  const ChoiceTable table = draw_table(cnn_dm, scores, Costs::layers);
  std::optional<BudgetCurve> curve;
  for (auto _ : state) curve = budget_curve(Knapsack(table));
  const std::vector<double> expected = by_dynamic_programming(table);
  double difference = 0;
  for (std::size_t c = 0; c < capacities; ++c) {
    const std::size_t i = std::min(c, curve->total_quality.size() - 1);
    difference = std::max(difference, std::abs(curve->total_quality[i] - expected[c]));
  }
  state.counters["capacities"] = static_cast<double>(capacities);
  state.counters["largest_difference"] = difference;
  if (difference > 1e-9) state.SkipWithError("differs from dynamic programming");
}
BENCHMARK_CAPTURE(whole_curve, real, Scores::real)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(whole_curve, shares, Scores::shares)->Unit(benchmark::kMillisecond);

// Each budget by itself, the table's preparation included. Counts those that are not proven, and
// how far off those may be in mean quality.
void budgets(benchmark::State& state, Scores scores, Costs costs) {
  const ChoiceTable table = draw_table(static_cast<std::size_t>(state.range(0)), scores, costs);
  const auto count = static_cast<std::size_t>(state.range(1));
  double unproven = 0;
  double largest_gap = 0;
  for (auto _ : state) {
    const Knapsack problem(table);
    std::vector<double> means;
    for (std::size_t i = 0; i < count; ++i) {
      means.push_back(std::lerp(problem.least_budget(), problem.largest_cost(),
                                static_cast<double>(i) / static_cast<double>(count - 1)));
    }
    unproven = 0;
    largest_gap = 0;
    for (const BudgetPoint& point : problem.solve(means)) {
      if (point.optimal) continue;
      ++unproven;
      largest_gap = std::max(largest_gap, point.upper_bound - point.mean_quality);
    }
  }
  state.counters["not_proven"] = unproven;
  state.counters["largest_gap"] = largest_gap;
}
BENCHMARK_CAPTURE(budgets, real, Scores::real, Costs::layers)
    ->Args({cnn_dm, 500})
    ->Args({1'000'000, 500})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(budgets, shares, Scores::shares, Costs::layers)
    ->Args({cnn_dm, 500})
    ->Args({1'000'000, 500})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(budgets, layer_tokens, Scores::shares, Costs::layer_tokens)
    ->Args({cnn_dm, 500})
    ->Args({1'000'000, 500})
    ->Unit(benchmark::kMillisecond);

// Where the curve first equals the deepest model, with its interval.
void match(benchmark::State& state) {
  const ChoiceTable table =
      draw_table(static_cast<std::size_t>(state.range(0)), Scores::shares, Costs::layers);
  const Knapsack problem(table);
  std::vector<double> full;
  for (std::size_t s = 0; s < table.samples(); ++s) {
    full.push_back(table.quality[s * depths.size() + depths.size() - 1]);
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(match_model(problem, full, {.seed = 0, .resamples = 2000}));
  }
}
BENCHMARK(match)->Arg(cnn_dm)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fathom
