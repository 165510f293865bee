#include "oracle/knapsack.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <unordered_map>

namespace fathom {
namespace {

// Totals of costs, and a budget times n, agree to this share.
constexpr double cost_rounding = 1e-12;
// A gap of this share of the total quality is rounding.
constexpr double quality_rounding = 1e-15;
// Undominated sums that are kept, and that are made in all, before the search for a budget's
// optimum is given up.
constexpr std::size_t most_states = 10'000;
constexpr std::size_t most_work = 2'000'000;
// Integers up to this are told apart from their neighbours, sums of them too.
constexpr double largest_integer = 0x1p40;

}  // namespace

// The relaxation's optimum with whole segments only: every sample's option while the number of
// segments taken grows.
class Knapsack::Sweep {
 public:
  explicit Sweep(const Knapsack& problem)
      : problem_(problem), taken_(problem.samples()), counts_(problem.choices_) {
    for (std::size_t s = 0; s < problem.samples(); ++s) ++counts_[problem.options_of(s)[0].choice];
  }
  void advance(std::size_t segments) {
    for (; segments_ < segments; ++segments_) {
      const Segment& segment = problem_.segments_[segments_];
      const std::span<const Option> options = problem_.options_of(segment.sample);
      --counts_[options[segment.from].choice];
      ++counts_[options[segment.to].choice];
      taken_[segment.sample] = segment.to;
    }
  }
  [[nodiscard]] std::uint32_t taken(std::size_t sample) const { return taken_[sample]; }
  [[nodiscard]] const std::vector<std::size_t>& counts() const { return counts_; }

 private:
  const Knapsack& problem_;
  std::vector<std::uint32_t> taken_;
  std::vector<std::size_t> counts_;
  std::size_t segments_ = 0;
};

// The samples near the relaxation's break: which of them change their option.
class Knapsack::Core {
 public:
  struct Change {
    std::uint32_t sample;
    std::uint32_t option;
  };

  explicit Core(const Knapsack& problem) : problem_(problem), seen_(problem.samples()) {
    if (problem.unit_ > 0) {
      // With steps of at most D units, some optimum differs from the relaxation's in at most 2D - 1
      // samples: of more, some would cancel [Eisenbrand, Weismantel 2018, by Steinitz's lemma].
      const double units = std::round(problem.largest_step_ / problem.unit_);
      most_changes_ = 2 * units - 1;
      farthest_ = most_changes_ * problem.largest_step_;
    }
  }

  // Solves for what is left of the capacity once `segments` segments are taken, of which `slack` is
  // not negative and too little for the next. `rounding` is a gap that does not matter.
  void solve(const Sweep& sweep, std::size_t segments, double slack, double rounding) {
    ++round_;
    sweep_ = &sweep;
    slope_ = problem_.segments_[segments].slope;
    slack_ = slack;
    rounding_ = rounding;
    gap_ = slope_ * slack;
    best_cost_ = 0;
    optimal_ = true;
    changes_.clear();
    copies_.clear();
    history_.clear();
    states_.assign(1, {0, 0, none});
    std::size_t work = 0;
    std::size_t low = segments;  // segments from here on, and those up to `high`, are still to come
    std::size_t high = segments;
    const std::span<const Segment> all = problem_.segments_;
    while (gap_ > rounding_) {
      // The next batch of samples, by how near their segments' slopes are.
      batch_.clear();
      bool more = true;
      while (batch_.size() < batch_size) {
        const double below = low > 0 ? all[low - 1].slope - slope_ : infinity;
        const double above = high < all.size() ? slope_ - all[high].slope : infinity;
        // Nothing further off can lose less than this.
        if (std::min(below, above) * problem_.smallest_step_ >= gap_) {
          more = false;
          break;
        }
        consider(below <= above ? all[--low].sample : all[high++].sample);
      }
      std::sort(batch_.begin(), batch_.end(), [](const Candidate& x, const Candidate& y) {
        return x.least_loss != y.least_loss ? x.least_loss < y.least_loss : x.sample < y.sample;
      });
      for (const Candidate& candidate : batch_) {
        if (candidate.least_loss >= gap_) break;
        merge(candidate.sample);
        work += merged_.size();
        if (work > most_work) {
          optimal_ = false;
          return;
        }
      }
      if (!more) return;
    }
  }

  [[nodiscard]] bool optimal() const { return optimal_; }
  // What to change, each sample once.
  [[nodiscard]] std::span<const Change> changes() const { return changes_; }

 private:
  static constexpr std::uint32_t none = UINT32_MAX;
  static constexpr double infinity = std::numeric_limits<double>::infinity();
  static constexpr std::size_t batch_size = 16;

  // Changes so far: what they cost more, and what they lose against the relaxation at its slope.
  struct State {
    double cost;
    double loss;
    std::uint32_t last;  // in history_
  };
  struct Step {
    std::uint32_t before;
    Change change;
  };
  struct Candidate {
    std::uint32_t sample;
    double least_loss;
  };

  [[nodiscard]] double loss(const Option& from, const Option& to) const {
    return std::max(0.0, slope_ * (to.cost - from.cost) - (to.quality - from.quality));
  }

  void consider(std::uint32_t sample) {
    if (seen_[sample] == round_) return;
    seen_[sample] = round_;
    const std::span<const Option> options = problem_.options_of(sample);
    const std::uint32_t taken = sweep_->taken(sample);
    double least = infinity;
    for (std::uint32_t o = 0; o < options.size(); ++o) {
      if (o != taken) least = std::min(least, loss(options[taken], options[o]));
    }
    if (least >= gap_) return;
    if (most_changes_ > 0) {
      // Of samples that are alike only so many can be needed.
      if (++copies_[kind_of(options, taken)] > most_changes_) return;
    }
    batch_.push_back({sample, least});
  }

  // The same for samples with the same options, of which they have the same.
  static std::uint64_t kind_of(std::span<const Option> options, std::uint32_t taken) {
    std::array<std::uint64_t, 2> bits{};
    std::uint64_t hash = taken;
    for (const Option& option : options) {
      const std::array<double, 2> numbers{option.cost, option.quality};
      std::memcpy(bits.data(), numbers.data(), sizeof(bits));
      for (const std::uint64_t word : bits) {
        hash = (hash ^ word) * 0x9E3779B97F4A7C15U;
        hash ^= hash >> 29U;
      }
    }
    return hash;
  }

  void merge(std::uint32_t sample) {
    const std::span<const Option> options = problem_.options_of(sample);
    const std::uint32_t taken = sweep_->taken(sample);
    const std::size_t old = states_.size();
    merged_.assign(states_.begin(), states_.end());
    for (std::uint32_t o = 0; o < options.size(); ++o) {
      if (o == taken) continue;
      const double more_cost = options[o].cost - options[taken].cost;
      const double more_loss = loss(options[taken], options[o]);
      const std::size_t middle = merged_.size();
      for (std::size_t i = 0; i < old; ++i) {
        const State state{states_[i].cost + more_cost, states_[i].loss + more_loss, none};
        if (state.loss >= gap_ || std::abs(state.cost) > farthest_) continue;
        history_.push_back({states_[i].last, {sample, o}});
        merged_.push_back(state);
        merged_.back().last = static_cast<std::uint32_t>(history_.size() - 1);
      }
      std::inplace_merge(merged_.begin(), merged_.begin() + static_cast<std::ptrdiff_t>(middle),
                         merged_.end(), [](const State& x, const State& y) {
                           return x.cost != y.cost ? x.cost < y.cost : x.loss < y.loss;
                         });
    }
    keep_undominated();
  }

  // Keeps what no cheaper state is as good as, and notes the best one that fits.
  void keep_undominated() {
    states_.clear();
    double best_gain = -infinity;
    for (const State& state : merged_) {
      const double gain = slope_ * state.cost - state.loss;
      if (gain <= best_gain) continue;
      best_gain = gain;
      states_.push_back(state);
      if (state.cost > slack_) continue;
      const double gap = state.loss + slope_ * (slack_ - state.cost);
      if (gap < gap_ - rounding_ || (gap <= gap_ && state.cost < best_cost_)) {
        gap_ = std::min(gap, gap_);
        best_cost_ = state.cost;
        note_changes(state.last);
      }
    }
    if (states_.size() <= most_states) return;
    // What loses least is kept; the order by cost is restored.
    optimal_ = false;
    std::nth_element(states_.begin(), states_.begin() + most_states, states_.end(),
                     [](const State& x, const State& y) { return x.loss < y.loss; });
    states_.resize(most_states);
    std::sort(states_.begin(), states_.end(),
              [](const State& x, const State& y) { return x.cost < y.cost; });
  }

  void note_changes(std::uint32_t last) {
    changes_.clear();
    for (; last != none; last = history_[last].before) changes_.push_back(history_[last].change);
  }

  const Knapsack& problem_;
  std::vector<std::uint32_t> seen_;  // by sample: the round in which it was considered last
  std::uint32_t round_ = 0;
  double most_changes_ = 0;  // 0 if not known
  double farthest_ = infinity;

  const Sweep* sweep_ = nullptr;
  double slope_ = 0;
  double slack_ = 0;
  double rounding_ = 0;
  double gap_ = 0;  // between the relaxation and the best found
  double best_cost_ = 0;
  bool optimal_ = true;
  std::vector<Change> changes_;
  std::unordered_map<std::uint64_t, std::uint32_t> copies_;
  std::vector<Candidate> batch_;
  std::vector<Step> history_;
  std::vector<State> states_;  // ascending in cost
  std::vector<State> merged_;
};

Knapsack::Knapsack(const ChoiceTable& table) : choices_(table.choices) {
  if (table.choices == 0 || table.quality.empty()) {
    throw std::invalid_argument("a knapsack needs samples and choices");
  }
  if (table.quality.size() % table.choices != 0 || table.cost.size() != table.quality.size()) {
    throw std::invalid_argument("a knapsack needs a quality and a cost for every choice");
  }
  const auto is_finite = [](double value) { return std::isfinite(value); };
  if (!std::all_of(table.quality.begin(), table.quality.end(), is_finite) ||
      !std::all_of(table.cost.begin(), table.cost.end(),
                   [](double value) { return std::isfinite(value) && value >= 0; })) {
    throw std::invalid_argument("qualities are finite numbers, costs not negative");
  }
  add_options(table);
  add_segments();
  find_steps();
}

void Knapsack::add_options(const ChoiceTable& table) {
  const std::size_t n = table.samples();
  first_.reserve(n + 1);
  options_.reserve(table.quality.size());
  std::vector<Option> sorted(choices_);
  for (std::size_t s = 0; s < n; ++s) {
    first_.push_back(options_.size());
    for (std::size_t k = 0; k < choices_; ++k) {
      sorted[k] = {table.cost[s * choices_ + k], table.quality[s * choices_ + k],
                   static_cast<std::uint32_t>(k)};
    }
    std::sort(sorted.begin(), sorted.end(), [](const Option& x, const Option& y) {
      if (x.cost != y.cost) return x.cost < y.cost;
      return x.quality != y.quality ? x.quality > y.quality : x.choice < y.choice;
    });
    for (const Option& option : sorted) {
      if (options_.size() == first_.back() || option.quality > options_.back().quality) {
        options_.push_back(option);
      }
    }
  }
  first_.push_back(options_.size());
}

void Knapsack::add_segments() {
  std::vector<Segment> hull;
  long double cost = 0;
  long double quality = 0;
  for (std::size_t s = 0; s < samples(); ++s) {
    const std::span<const Option> options = options_of(s);
    cost += options[0].cost;
    quality += options[0].quality;
    hull.clear();
    const auto segment = [&](std::uint32_t from, std::uint32_t to) {
      const double c = options[to].cost - options[from].cost;
      const double q = options[to].quality - options[from].quality;
      return Segment{static_cast<std::uint32_t>(s), from, to, c, q, q / c};
    };
    for (std::uint32_t o = 1; o < options.size(); ++o) {
      Segment next = segment(o - 1, o);
      while (!hull.empty() && hull.back().slope < next.slope) {
        next = segment(hull.back().from, o);
        hull.pop_back();
      }
      hull.push_back(next);
    }
    segments_.insert(segments_.end(), hull.begin(), hull.end());
  }
  std::sort(segments_.begin(), segments_.end(), [](const Segment& x, const Segment& y) {
    if (x.slope != y.slope) return x.slope > y.slope;
    return x.sample != y.sample ? x.sample < y.sample : x.from < y.from;
  });
  for (const Segment& segment : segments_) {
    cost_before_.push_back(static_cast<double>(cost));
    quality_before_.push_back(static_cast<double>(quality));
    cost += segment.cost;
    quality += segment.quality;
  }
  cost_before_.push_back(static_cast<double>(cost));
  quality_before_.push_back(static_cast<double>(quality));
}

void Knapsack::find_steps() {
  smallest_step_ = std::numeric_limits<double>::infinity();
  bool integers = true;
  std::int64_t unit = 0;
  for (std::size_t s = 0; s < samples(); ++s) {
    const std::span<const Option> options = options_of(s);
    for (std::size_t o = 1; o < options.size(); ++o) {
      const double step = options[o].cost - options[o - 1].cost;
      smallest_step_ = std::min(smallest_step_, step);
      integers = integers && options[o].cost <= largest_integer &&
                 options[o].cost == std::floor(options[o].cost) && step == std::floor(step);
      if (integers) unit = std::gcd(unit, static_cast<std::int64_t>(step));
    }
    largest_step_ = std::max(largest_step_, options.back().cost - options.front().cost);
  }
  if (integers) unit_ = static_cast<double>(unit);
}

double Knapsack::least_budget() const {
  return cost_before_.front() / static_cast<double>(samples());
}
double Knapsack::largest_cost() const {
  return cost_before_.back() / static_cast<double>(samples());
}
double Knapsack::largest_quality() const {
  return quality_before_.back() / static_cast<double>(samples());
}

double Knapsack::capacity(double budget) const {
  const double total = budget * static_cast<double>(samples());
  const double with_rounding = total + cost_rounding * std::abs(total);
  if (!std::isfinite(with_rounding) || with_rounding < cost_before_.front()) {
    throw std::invalid_argument("a budget below what the cheapest choices cost");
  }
  if (unit_ == 0) return with_rounding;
  // What is less than a unit cannot be spent, and would only loosen the bound.
  const double units = std::floor((with_rounding - cost_before_.front()) / unit_);
  return cost_before_.front() + units * unit_;
}

std::vector<BudgetPoint> Knapsack::solve(std::span<const double> budgets) const {
  const auto n = static_cast<double>(samples());
  std::vector<std::size_t> order(budgets.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t x, std::size_t y) { return budgets[x] < budgets[y]; });
  std::vector<BudgetPoint> points(budgets.size());
  for (const double budget : budgets) (void)capacity(budget);
  Sweep sweep(*this);
  Core core(*this);
  for (const std::size_t i : order) {
    BudgetPoint& point = points[i];
    const double total = capacity(budgets[i]);
    const auto above = std::upper_bound(cost_before_.begin(), cost_before_.end(), total);
    const auto segments = static_cast<std::size_t>(above - cost_before_.begin()) - 1;
    sweep.advance(segments);
    double quality = quality_before_[segments];
    double cost = cost_before_[segments];
    double bound = quality;
    point.budget = budgets[i];
    point.counts = sweep.counts();
    point.optimal = true;
    if (segments < segments_.size()) {
      const double slack = total - cost;
      bound += segments_[segments].slope * slack;
      core.solve(sweep, segments, slack, quality_rounding * std::abs(bound));
      point.optimal = core.optimal();
      for (const Core::Change& change : core.changes()) {
        const std::span<const Option> options = options_of(change.sample);
        const Option& from = options[sweep.taken(change.sample)];
        const Option& to = options[change.option];
        quality += to.quality - from.quality;
        cost += to.cost - from.cost;
        --point.counts[from.choice];
        ++point.counts[to.choice];
      }
    }
    point.mean_quality = quality / n;
    point.mean_cost = cost / n;
    point.upper_bound = std::max(bound, quality) / n;
  }
  return points;
}

std::vector<std::uint32_t> Knapsack::allocate(double budget) const {
  const double total = capacity(budget);
  const auto above = std::upper_bound(cost_before_.begin(), cost_before_.end(), total);
  const auto segments = static_cast<std::size_t>(above - cost_before_.begin()) - 1;
  Sweep sweep(*this);
  sweep.advance(segments);
  std::vector<std::uint32_t> options(samples());
  for (std::size_t s = 0; s < samples(); ++s) options[s] = sweep.taken(s);
  if (segments < segments_.size()) {
    const double slack = total - cost_before_[segments];
    const double bound = quality_before_[segments] + segments_[segments].slope * slack;
    Core core(*this);
    core.solve(sweep, segments, slack, quality_rounding * std::abs(bound));
    for (const Core::Change& change : core.changes()) options[change.sample] = change.option;
  }
  for (std::size_t s = 0; s < samples(); ++s) options[s] = options_of(s)[options[s]].choice;
  return options;
}

}  // namespace fathom
