#include "metrics/curve_difference.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "base/random.h"

namespace fathom {
namespace {

struct Point {
  double cost, quality;
};

// A curve's points on rows that occur so many times, by cost.
std::vector<Point> points_of(const CostCurve& curve, const std::vector<std::uint32_t>& times) {
  std::vector<Point> points;
  for (std::size_t p = 0; p < curve.quality.size(); ++p) {
    double quality = 0, cost = 0, weight = 0;
    for (std::size_t row = 0; row < times.size(); ++row) {
      quality += times[row] * curve.quality[p][row];
      cost += times[row] * curve.cost[p][row];
      weight += times[row] * curve.weight[p][row];
    }
    // A resample of rows without weight says nothing of the cost.
    if (weight > 0) points.push_back({cost / weight, quality / static_cast<double>(times.size())});
  }
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.cost < b.cost; });
  return points;
}

double interpolate(const std::vector<Point>& points, double cost) {
  const auto above = std::lower_bound(points.begin(), points.end(), cost,
                                      [](const Point& p, double value) { return p.cost < value; });
  if (above == points.begin()) return above->quality;
  const Point& below = *(above - 1);
  if (above == points.end()) return below.quality;
  const double share = (cost - below.cost) / (above->cost - below.cost);
  return below.quality + share * (above->quality - below.quality);
}

void check(const CostCurve& curve, std::size_t rows) {
  const std::size_t points = curve.quality.size();
  if (points == 0 || curve.cost.size() != points || curve.weight.size() != points) {
    throw std::invalid_argument("a curve needs a point, and quality, cost and weight of each");
  }
  for (const auto* const values : {&curve.quality, &curve.cost, &curve.weight}) {
    for (const std::vector<double>& of_point : *values) {
      if (of_point.size() != rows || rows == 0 ||
          !std::all_of(of_point.begin(), of_point.end(),
                       [](double v) { return std::isfinite(v); })) {
        throw std::invalid_argument("all points need finite numbers of the same rows");
      }
    }
  }
  for (const std::vector<double>& weight : curve.weight) {
    if (!(std::accumulate(weight.begin(), weight.end(), 0.0) > 0)) {
      throw std::invalid_argument("a point needs a row with a weight");
    }
  }
}

// Of draws in ascending order, interpolated between neighbours.
double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// The share of draws for which something holds, which is never said to be 0.
template <class Holds>
double share_of(const std::vector<double>& draws, const Holds& holds) {
  const auto count = std::count_if(draws.begin(), draws.end(), holds);
  return static_cast<double>(count + 1) / static_cast<double>(draws.size() + 1);
}

}  // namespace

std::vector<CurveDifference> compare_curves(const CostCurve& first, const CostCurve& second,
                                            const CurveDifferenceOptions& options) {
  if (first.quality.empty()) throw std::invalid_argument("a curve needs a point");
  const std::size_t rows = first.quality.front().size();
  check(first, rows);
  check(second, rows);
  if (options.costs == 0 || options.resamples == 0 || !(options.margin > 0)) {
    throw std::invalid_argument("costs, resamples and margin must be positive");
  }
  const std::vector<std::uint32_t> once(rows, 1);
  const std::vector<Point> a = points_of(first, once);
  const std::vector<Point> b = points_of(second, once);
  const double low = std::max(a.front().cost, b.front().cost);
  const double high = std::min(a.back().cost, b.back().cost);
  if (low > high) return {};
  std::vector<CurveDifference> differences;
  const std::size_t count = low == high ? 1 : options.costs;
  for (std::size_t c = 0; c < count; ++c) {
    // In the middle, if there is but one.
    const double share = count == 1 ? 0.5 : static_cast<double>(c) / static_cast<double>(count - 1);
    const double cost = low + share * (high - low);
    differences.push_back({.cost = cost, .estimate = interpolate(a, cost) - interpolate(b, cost)});
  }
  std::vector<std::vector<double>> draws(count);
  std::vector<std::uint32_t> times(rows);
  for (std::uint32_t resample = 0; resample < options.resamples; ++resample) {
    RandomStream random({.seed = options.seed,
                         .purpose = RandomPurpose::resample,
                         .sequence = rows,
                         .position = resample});
    std::fill(times.begin(), times.end(), 0);
    for (std::size_t i = 0; i < rows; ++i) ++times[random.below(rows)];
    const std::vector<Point> of_a = points_of(first, times);
    const std::vector<Point> of_b = points_of(second, times);
    if (of_a.empty() || of_b.empty()) continue;
    for (std::size_t c = 0; c < count; ++c) {
      const double cost = differences[c].cost;
      draws[c].push_back(interpolate(of_a, cost) - interpolate(of_b, cost));
    }
  }
  for (std::size_t c = 0; c < count; ++c) {
    std::vector<double>& drawn = draws[c];
    if (drawn.empty()) continue;
    std::sort(drawn.begin(), drawn.end());
    CurveDifference& difference = differences[c];
    difference.low = quantile(drawn, 0.025);
    difference.high = quantile(drawn, 0.975);
    difference.p_greater = share_of(drawn, [](double d) { return d <= 0; });
    difference.p_less = share_of(drawn, [](double d) { return d >= 0; });
    difference.p_equivalent =
        std::max(share_of(drawn, [&](double d) { return d >= options.margin; }),
                 share_of(drawn, [&](double d) { return d <= -options.margin; }));
  }
  return differences;
}

}  // namespace fathom
