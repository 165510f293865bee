#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// What is to be chosen from: for each of n samples one of K choices, each with a quality and a
/// cost. Both are [sample][choice], n x K numbers, finite; costs are not negative.
struct ChoiceTable {
  std::size_t choices = 0;
  std::vector<double> quality;
  std::vector<double> cost;

  [[nodiscard]] std::size_t samples() const { return choices == 0 ? 0 : quality.size() / choices; }
};

/// The best that a budget allows.
struct BudgetPoint {
  double budget = 0;
  double mean_quality = 0;
  double mean_cost = 0;
  double upper_bound = 0;  ///< of the mean quality: the linear relaxation's
  /// Whether it is shown that nothing is better, to rounding; otherwise mean_quality is within
  /// upper_bound - mean_quality of the best.
  bool optimal = false;
  std::vector<std::size_t> counts;  ///< by choice: how many samples got it
};

/// The multiple-choice knapsack problem [Glavas24 eq. 3] [Kellerer, Pferschy, Pisinger 2004, ch.
/// 11]: one choice for each sample, so that the mean quality is the largest under a budget for the
/// mean cost. Of equally good choices the cheapest is taken, of a sample's with equal quality and
/// cost the first.
///
/// A budget is solved from its linear relaxation: samples whose other choices would lose more than
/// the gap between the relaxation and the best found so far keep the relaxation's choice, the few
/// others are solved by dynamic programming over their undominated sums of cost and loss.
class Knapsack {
 public:
  /// Throws std::invalid_argument unless there is a sample and a choice, and the table is as
  /// described there.
  explicit Knapsack(const ChoiceTable& table);

  [[nodiscard]] std::size_t samples() const { return first_.size() - 1; }
  /// The mean cost if every sample takes its cheapest choice: the least budget that can be kept.
  [[nodiscard]] double least_budget() const;
  /// The mean cost of the best choices of all samples: more makes no difference.
  [[nodiscard]] double largest_cost() const;
  /// The mean quality of the best choices of all samples.
  [[nodiscard]] double largest_quality() const;

  /// The best for each budget, in the order given. Throws std::invalid_argument for a budget below
  /// least_budget() or not finite.
  [[nodiscard]] std::vector<BudgetPoint> solve(std::span<const double> budgets) const;
  /// The choice of each sample that solve() finds.
  [[nodiscard]] std::vector<std::uint32_t> allocate(double budget) const;

  /// A choice that can be of use: none of the sample's is cheaper, or as cheap, and as good.
  struct Option {
    double cost = 0;
    double quality = 0;
    std::uint32_t choice = 0;
  };
  /// A sample's, ascending in cost and in quality.
  [[nodiscard]] std::span<const Option> options_of(std::size_t sample) const {
    return std::span(options_).subspan(first_[sample], first_[sample + 1] - first_[sample]);
  }
  /// What a sample can be given for its next cost on the upper concave hull of its choices.
  struct Segment {
    std::uint32_t sample = 0;
    std::uint32_t from = 0;  ///< of its undominated choices, by cost
    std::uint32_t to = 0;
    double cost = 0;
    double quality = 0;
    double slope = 0;  ///< quality / cost
  };
  /// All of them, steepest first; a sample's in the order of its costs. Taking them in this order
  /// from every sample's cheapest choice is the linear relaxation's optimum, for each budget.
  [[nodiscard]] std::span<const Segment> segments() const { return segments_; }
  /// The total cost of the samples' cheapest choices, and of their best ones.
  [[nodiscard]] double least_total() const { return cost_before_.front(); }
  [[nodiscard]] double largest_total() const { return cost_before_.back(); }
  /// Of which the costs of a sample's options differ by multiples; 0 if costs are no integers.
  [[nodiscard]] double unit() const { return unit_; }
  /// Between a sample's cheapest and dearest option, the most.
  [[nodiscard]] double largest_step() const { return largest_step_; }

 private:
  class Sweep;
  class Core;

  void add_options(const ChoiceTable& table);
  void add_segments();
  void find_steps();
  [[nodiscard]] double capacity(double budget) const;

  std::size_t choices_ = 0;
  std::vector<std::size_t> first_;  // by sample: its first of options_; one more at the end
  std::vector<Option> options_;     // by sample, ascending in cost and in quality
  std::vector<Segment> segments_;
  std::vector<double> cost_before_;  // by segment: the total cost with all segments before it
  std::vector<double> quality_before_;
  double smallest_step_ = 0;  // between the costs of neighbouring options of a sample
  double largest_step_ = 0;   // between a sample's cheapest and dearest option
  double unit_ = 0;           // of which all costs differ by multiples; 0 if none is known
};

}  // namespace fathom
