#include "oracle/sampling_advantage.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <stdexcept>

namespace fathom {
namespace {

// A sample's quality if its choice is drawn by the shares.
double mixed_quality(const ChoiceTable& table, std::size_t sample, std::span<const double> shares) {
  const auto row = table.quality.begin() + static_cast<std::ptrdiff_t>(sample * table.choices);
  return std::inner_product(shares.begin(), shares.end(), row, 0.0);
}

// What the oracle that chose on one table has more than the mixture that was chosen on it.
struct Gain {
  double apparent = 0;  // scored on the same table
  Interval real;        // scored on another
};

Gain gain(const ChoiceTable& chosen_on, const ChoiceTable& scored_on, double budget, double level) {
  const std::vector<std::uint32_t> oracle = Knapsack(chosen_on).allocate(budget);
  const std::vector<double> mixture = static_mixture(chosen_on, budget);
  Gain result;
  std::vector<double> real(oracle.size());
  for (std::size_t s = 0; s < oracle.size(); ++s) {
    const std::size_t chosen = s * chosen_on.choices + oracle[s];
    real[s] = scored_on.quality[chosen] - mixed_quality(scored_on, s, mixture);
    result.apparent += chosen_on.quality[chosen] - mixed_quality(chosen_on, s, mixture);
  }
  result.apparent /= static_cast<double>(oracle.size());
  result.real = t_interval(real, level);
  return result;
}

}  // namespace

std::vector<double> static_mixture(const ChoiceTable& table, double budget) {
  // The relaxation of one sample whose scores are the means.
  ChoiceTable means{.choices = table.choices,
                    .quality = std::vector<double>(table.choices),
                    .cost = std::vector<double>(table.choices)};
  for (std::size_t i = 0; i < table.quality.size(); ++i) {
    const auto share = 1 / static_cast<double>(table.samples());
    means.quality[i % table.choices] += table.quality[i] * share;
    means.cost[i % table.choices] += table.cost[i] * share;
  }
  const Knapsack problem(means);
  const std::span<const Knapsack::Option> options = problem.options_of(0);
  std::vector<double> shares(table.choices);
  std::uint32_t whole = 0;
  double left = budget - options[0].cost;
  for (const Knapsack::Segment& segment : problem.segments()) {
    if (left <= 0) break;
    const double part = std::min(1.0, left / segment.cost);
    if (part < 1) {
      shares[options[segment.to].choice] = part;
      shares[options[whole].choice] = 1 - part;
      return shares;
    }
    left -= segment.cost;
    whole = segment.to;
  }
  shares[options[whole].choice] = 1;
  return shares;
}

SamplingAdvantage split_advantage(const ChoiceTable& first, const ChoiceTable& second,
                                  double budget, double level) {
  if (first.choices != second.choices || first.quality.size() != second.quality.size()) {
    throw std::invalid_argument("two draws of one table have one size");
  }
  const Gain one = gain(first, second, budget, level);
  const Gain other = gain(second, first, budget, level);
  const auto mean = [](double x, double y) { return (x + y) / 2; };
  SamplingAdvantage advantage{
      .gain = mean(one.apparent, other.apparent),
      .allocation = {mean(one.real.estimate, other.real.estimate),
                     mean(one.real.low, other.real.low), mean(one.real.high, other.real.high)}};
  advantage.sampling = advantage.gain - advantage.allocation.estimate;
  return advantage;
}

}  // namespace fathom
