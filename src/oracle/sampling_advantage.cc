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

// The samples by their mean quality, from the lowest.
std::vector<std::size_t> by_mean_quality(const ChoiceTable& table) {
  std::vector<double> total(table.samples());
  for (std::size_t i = 0; i < table.quality.size(); ++i) {
    total[i / table.choices] += table.quality[i];
  }
  std::vector<std::size_t> order(table.samples());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return total[a] < total[b]; });
  return order;
}

// Some samples with their choices, any of which may be given that of another one.
class Exchange {
 public:
  Exchange(const ChoiceTable& table, std::span<const std::size_t> samples,
           std::span<const std::uint32_t> chosen)
      : table_(table),
        chosen_(chosen),
        others_(static_cast<double>(samples.size()) - 1),
        counts_(table.choices),
        totals_(table.choices) {
    for (const std::size_t s : samples) {
      ++counts_[chosen[s]];
      for (std::size_t k = 0; k < table.choices; ++k) totals_[k] += quality(s, k);
    }
  }

  // The mean quality of a sample with the choices of the others.
  [[nodiscard]] double taking(std::size_t sample) const {
    double total = -quality(sample, chosen_[sample]);
    for (std::size_t k = 0; k < counts_.size(); ++k) total += counts_[k] * quality(sample, k);
    return total / others_;
  }
  // The mean quality of the others with the choice of a sample.
  [[nodiscard]] double giving(std::size_t sample) const {
    const std::size_t choice = chosen_[sample];
    return (totals_[choice] - quality(sample, choice)) / others_;
  }

 private:
  [[nodiscard]] double quality(std::size_t sample, std::size_t choice) const {
    return table_.quality[sample * table_.choices + choice];
  }

  const ChoiceTable& table_;
  std::span<const std::uint32_t> chosen_;
  double others_;
  std::vector<double> counts_;  // by choice: samples that have it
  std::vector<double> totals_;  // by choice: of all samples' qualities
};

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

SamplingAdvantage permuted_advantage(const ChoiceTable& table, double budget, double level) {
  const std::vector<std::uint32_t> oracle = Knapsack(table).allocate(budget);
  const std::vector<std::size_t> order = by_mean_quality(table);
  const std::size_t n = order.size();
  const std::size_t groups = std::max<std::size_t>(1, n / permuted_group);
  SamplingAdvantage advantage;
  std::vector<double> influence(n);
  const Exchange all(table, order, oracle);
  for (std::size_t g = 0; g < groups && n > 1; ++g) {
    const std::size_t begin = g * n / groups;
    const auto group = std::span(order).subspan(begin, (g + 1) * n / groups - begin);
    const Exchange alike(table, group, oracle);
    for (const std::size_t s : group) {
      const double taken = alike.taking(s) - all.taking(s);
      advantage.allocation.estimate += taken / static_cast<double>(n);
      advantage.gain +=
          (table.quality[s * table.choices + oracle[s]] - all.taking(s)) / static_cast<double>(n);
      influence[s] = taken + alike.giving(s) - all.giving(s);
    }
  }
  // Their mean is twice the estimate: each sample takes a choice and gives one.
  for (double& each : influence) each -= advantage.allocation.estimate;
  advantage.allocation = t_interval(influence, level);
  advantage.sampling = advantage.gain - advantage.allocation.estimate;
  return advantage;
}

}  // namespace fathom
