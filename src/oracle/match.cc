#include "oracle/match.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "base/random.h"
#include "metrics/mean_error.h"

namespace fathom {
namespace {

constexpr double rounding = 1e-12;
// How near the least budget is found where costs are no integers, as a share of the budget.
constexpr double resolution = 1e-10;
constexpr std::size_t most_groups = 20'000;
// Resamples that are gone through from the first segment, to learn where the others may begin.
constexpr std::uint32_t pilots = 32;

// Where the relaxation reaches a total quality.
struct Crossing {
  std::size_t segment = 0;  // the first that is not needed whole
  double cost = 0;          // total
};

// The samples in groups, each of which is drawn or left out whole; and what each would cost and
// score with all segments before `begin` taken.
class GroupedRelaxation {
 public:
  GroupedRelaxation(const Knapsack& problem, std::span<const double> model_quality)
      : problem_(problem),
        groups_(std::min(problem.samples(), most_groups)),
        size_(groups_),
        cost_(groups_),
        missing_(groups_) {
    for (std::size_t s = 0; s < problem.samples(); ++s) {
      const Knapsack::Option& cheapest = problem.options_of(s)[0];
      const std::size_t group = group_of(s);
      size_[group] += 1;
      cost_[group] += cheapest.cost;
      missing_[group] += model_quality[s] - cheapest.quality;
    }
  }

  [[nodiscard]] std::size_t groups() const { return groups_; }

  // Takes all segments before `begin` for good.
  void begin_at(std::size_t begin) {
    for (; begin_ < begin; ++begin_) {
      const Knapsack::Segment& segment = problem_.segments()[begin_];
      cost_[group_of(segment.sample)] += segment.cost;
      missing_[group_of(segment.sample)] -= segment.quality;
    }
  }

  // With each group as often as its weight says. If the crossing lies before the segment that
  // begin_at() named, it is not found: its cost is too high, and `segment` is that one.
  [[nodiscard]] Crossing crossing(std::span<const double> weights) const {
    double missing = std::inner_product(weights.begin(), weights.end(), missing_.begin(), 0.0);
    Crossing result{begin_, std::inner_product(weights.begin(), weights.end(), cost_.begin(), 0.0)};
    const std::span<const Knapsack::Segment> segments = problem_.segments();
    for (; missing > 0 && result.segment < segments.size(); ++result.segment) {
      const Knapsack::Segment& segment = segments[result.segment];
      const double weight = weights[group_of(segment.sample)];
      const double quality = weight * segment.quality;
      if (quality >= missing) {
        result.cost += weight * segment.cost * (missing / quality);
        return result;
      }
      missing -= quality;
      result.cost += weight * segment.cost;
    }
    return result;
  }

  [[nodiscard]] double mean_cost(const Crossing& crossing, std::span<const double> weights) const {
    return crossing.cost / std::inner_product(weights.begin(), weights.end(), size_.begin(), 0.0);
  }

  // What each group moves the budget by, up to a factor: with the slope at the crossing fixed, what
  // it lacks of the model's quality after what it gains beyond the slope.
  [[nodiscard]] std::vector<double> influences(double slope,
                                               std::span<const double> model_quality) const {
    std::vector<double> result(groups_);
    for (std::size_t s = 0; s < problem_.samples(); ++s) {
      double gain = -INFINITY;
      for (const Knapsack::Option& option : problem_.options_of(s)) {
        gain = std::max(gain, option.quality - slope * option.cost);
      }
      result[group_of(s)] += model_quality[s] - gain;
    }
    return result;
  }

 private:
  [[nodiscard]] std::size_t group_of(std::size_t sample) const { return sample % groups_; }

  const Knapsack& problem_;
  std::size_t groups_;
  std::size_t begin_ = 0;
  std::vector<double> size_;
  std::vector<double> cost_;
  std::vector<double> missing_;  // quality that the model has and the group has not
};

void draw_weights(const BootstrapOptions& options, std::uint32_t resample,
                  std::vector<double>& weights) {
  RandomStream stream(
      {.seed = options.seed, .purpose = RandomPurpose::resample, .position = resample});
  std::fill(weights.begin(), weights.end(), 0.0);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[stream.below(weights.size())] += 1;
}

}  // namespace

double least_budget_for(const Knapsack& problem, double mean_quality) {
  const double enough = mean_quality - rounding * std::abs(mean_quality);
  if (problem.largest_quality() < enough) {
    throw std::invalid_argument("no choices are that good");
  }
  const auto n = static_cast<double>(problem.samples());
  const auto at = [&](double budget) {
    return problem.solve(std::array{std::max(budget, problem.least_budget())}).front();
  };
  // Between the relaxation's budget and the next at which it takes whole segments only.
  double low = problem.least_total();
  double high = low;
  double quality = at(low / n).mean_quality * n;
  if (quality >= enough * n) return low / n;
  for (const Knapsack::Segment& segment : problem.segments()) {
    high += segment.cost;
    if (quality + segment.quality >= enough * n) {
      low = high - segment.cost + (enough * n - quality) / segment.slope;
      break;
    }
    quality += segment.quality;
  }
  high = std::min(high, problem.largest_total());
  low = std::min(low, high);
  const double nearest = problem.unit() > 0 ? problem.unit() / 2 : resolution * high;
  double best = at(high / n).mean_cost * n;
  if (const BudgetPoint point = at(low / n); point.mean_quality >= enough) return point.mean_cost;
  while (best - low > nearest) {
    const double middle = low + (best - low) / 2;
    const BudgetPoint point = at(middle / n);
    if (point.mean_quality >= enough) {
      best = point.mean_cost * n;
    } else {
      low = middle;
    }
  }
  return best / n;
}

Interval match_model(const Knapsack& problem, std::span<const double> model_quality,
                     const BootstrapOptions& options) {
  if (model_quality.size() != problem.samples()) {
    throw std::invalid_argument("a quality of the model for each sample");
  }
  if (options.resamples == 0) throw std::invalid_argument("no resamples to draw");
  const double exact = least_budget_for(problem, mean_of(model_quality));
  GroupedRelaxation relaxation(problem, model_quality);
  std::vector<double> weights(relaxation.groups(), 1.0);
  if (weights.size() == 1) return {exact, NAN, NAN};
  const Crossing crossing = relaxation.crossing(weights);
  const double relaxed = relaxation.mean_cost(crossing, weights);

  std::vector<double> replicates(options.resamples);
  std::size_t first = crossing.segment;
  std::size_t last = crossing.segment;
  const std::uint32_t pilot_end = std::min(pilots, options.resamples);
  for (std::uint32_t i = 0; i < pilot_end; ++i) {
    draw_weights(options, i, weights);
    const Crossing found = relaxation.crossing(weights);
    replicates[i] = relaxation.mean_cost(found, weights);
    first = std::min(first, found.segment);
    last = std::max(last, found.segment);
  }
  const std::size_t margin = 2 * (last - first);
  const std::size_t begin = first - std::min(first, margin);
  GroupedRelaxation late = relaxation;
  late.begin_at(begin);
  for (std::uint32_t i = pilot_end; i < options.resamples; ++i) {
    draw_weights(options, i, weights);
    Crossing found = late.crossing(weights);
    if (found.segment == begin) found = relaxation.crossing(weights);
    replicates[i] = relaxation.mean_cost(found, weights);
  }
  std::vector<double> without(weights.size(), 0.0);
  if (!problem.segments().empty()) {
    const std::size_t at = std::min(crossing.segment, problem.segments().size() - 1);
    without = relaxation.influences(problem.segments()[at].slope, model_quality);
    for (double& value : without) value = -value;  // leaving a group out takes its influence away
  }
  Interval interval = bca_interval(relaxed, replicates, without, options.level);
  interval.estimate = exact;
  interval.low += exact - relaxed;
  interval.high += exact - relaxed;
  return interval;
}

}  // namespace fathom
