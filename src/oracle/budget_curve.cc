#include "oracle/budget_curve.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

namespace fathom {
namespace {

constexpr double most_budgets = 0x1p24;
constexpr double most_units = 64;
// What the relaxation may exceed the best found by and still count as equal, of a total.
constexpr double rounding = 1e-15;

// Curves of groups of samples, one after the other: exact, and relaxed.
struct Level {
  std::vector<std::size_t> begins;  // of each group; one more at the end
  std::vector<double> exact;
  std::vector<double> relaxed;

  [[nodiscard]] std::size_t groups() const { return begins.size() - 1; }
  [[nodiscard]] std::size_t size(std::size_t group) const {
    return begins[group + 1] - begins[group];
  }
};

// The best sums of two groups' curves. `reach` is how far from the relaxation's split an optimal
// one can be.
void join(const Level& level, std::size_t group, std::size_t reach, double tolerance, double* exact,
          double* relaxed) {
  const double* const exact_a = level.exact.data() + level.begins[group];
  const double* const exact_b = level.exact.data() + level.begins[group + 1];
  const double* const relaxed_a = level.relaxed.data() + level.begins[group];
  const double* const relaxed_b = level.relaxed.data() + level.begins[group + 1];
  const std::size_t last_a = level.size(group) - 1;
  const std::size_t last_b = level.size(group + 1) - 1;
  std::size_t a = 0;
  std::size_t b = 0;
  while (true) {
    double best = exact_a[a] + exact_b[b];
    relaxed[a + b] = relaxed_a[a] + relaxed_b[b];
    // The sum of the relaxations falls with the distance from their best split.
    for (std::size_t d = 1; d <= std::min({reach, last_a - a, b}); ++d) {
      if (relaxed_a[a + d] + relaxed_b[b - d] <= best + tolerance) break;
      best = std::max(best, exact_a[a + d] + exact_b[b - d]);
    }
    for (std::size_t d = 1; d <= std::min({reach, a, last_b - b}); ++d) {
      if (relaxed_a[a - d] + relaxed_b[b + d] <= best + tolerance) break;
      best = std::max(best, exact_a[a - d] + exact_b[b + d]);
    }
    exact[a + b] = best;
    if (a == last_a && b == last_b) return;
    const bool to_a = b == last_b || (a != last_a && relaxed_a[a + 1] - relaxed_a[a] >=
                                                         relaxed_b[b + 1] - relaxed_b[b]);
    to_a ? ++a : ++b;
  }
}

Level join_neighbours(const Level& level, std::size_t reach, double tolerance) {
  Level joined;
  joined.begins.push_back(0);
  // A joined curve is one shorter than its two together.
  joined.exact.resize(level.exact.size());
  joined.relaxed.resize(level.exact.size());
  for (std::size_t g = 0; g < level.groups(); g += 2) {
    const std::size_t begin = joined.begins.back();
    if (g + 1 == level.groups()) {
      const auto from = static_cast<std::ptrdiff_t>(level.begins[g]);
      const auto count = static_cast<std::ptrdiff_t>(level.size(g));
      const auto to = static_cast<std::ptrdiff_t>(begin);
      std::copy_n(level.exact.begin() + from, count, joined.exact.begin() + to);
      std::copy_n(level.relaxed.begin() + from, count, joined.relaxed.begin() + to);
      joined.begins.push_back(begin + level.size(g));
      continue;
    }
    join(level, g, reach, tolerance, joined.exact.data() + begin, joined.relaxed.data() + begin);
    joined.begins.push_back(begin + level.size(g) + level.size(g + 1) - 1);
  }
  joined.exact.resize(joined.begins.back());
  joined.relaxed.resize(joined.begins.back());
  return joined;
}

}  // namespace

std::optional<BudgetCurve> budget_curve(const Knapsack& problem) {
  const double unit = problem.unit();
  const auto n = static_cast<double>(problem.samples());
  if (problem.segments().empty()) {
    return BudgetCurve{problem.least_budget() * n, 1, {problem.largest_quality() * n}};
  }
  if (unit == 0 || problem.largest_step() > most_units * unit ||
      problem.largest_total() - problem.least_total() > most_budgets * unit) {
    return std::nullopt;
  }
  Level level;
  level.begins.push_back(0);
  double constant =
      0;  // the quality of samples with one undominated choice, and of all cheapest ones
  for (std::size_t s = 0; s < problem.samples(); ++s) {
    const std::span<const Knapsack::Option> options = problem.options_of(s);
    constant += options[0].quality;
    if (options.size() == 1) continue;
    const auto steps = [&](const Knapsack::Option& option) {
      return static_cast<std::size_t>(std::llround((option.cost - options[0].cost) / unit));
    };
    const std::size_t begin = level.exact.size();
    const std::size_t size = steps(options.back()) + 1;
    level.exact.resize(begin + size);
    level.relaxed.resize(begin + size);
    for (std::size_t o = 0; o < options.size(); ++o) {
      const std::size_t end = o + 1 < options.size() ? steps(options[o + 1]) : size;
      for (std::size_t c = steps(options[o]); c < end; ++c) {
        level.exact[begin + c] = options[o].quality - options[0].quality;
      }
    }
    level.begins.push_back(level.exact.size());
  }
  // By the segments of the upper hulls, each in as many parts as it has units of cost.
  std::vector<std::size_t> at(problem.samples());
  std::size_t group = 0;
  for (std::size_t s = 0; s < problem.samples(); ++s) {
    if (problem.options_of(s).size() > 1) at[s] = level.begins[group++];
  }
  for (const Knapsack::Segment& segment : problem.segments()) {
    std::size_t& place = at[segment.sample];
    const double begin = level.relaxed[place];
    const auto units = static_cast<std::size_t>(std::llround(segment.cost / unit));
    for (std::size_t u = 1; u <= units; ++u) {
      level.relaxed[place + u] =
          begin + segment.quality * static_cast<double>(u) / static_cast<double>(units);
    }
    place += units;
  }

  // An optimum differs from the relaxation with whole segments, which may be two short here, in at
  // most 3D samples by at most D units each (see Knapsack), and its split from this one by D.
  const auto units = static_cast<std::size_t>(std::llround(problem.largest_step() / unit));
  const std::size_t reach = 3 * units * (units + 1);
  double total = 0;
  for (const Knapsack::Segment& segment : problem.segments()) total += segment.quality;
  while (level.groups() > 1) level = join_neighbours(level, reach, rounding * total);
  for (double& quality : level.exact) quality += constant;
  return BudgetCurve{problem.least_total(), unit, std::move(level.exact)};
}

}  // namespace fathom
