#pragma once

#include <cstdint>
#include <optional>

namespace fathom {

/// Which evaluation was the best, and when to stop since none gets better.
class EarlyStopping {
 public:
  /// Stops after `patience` evaluations in a row that are no better than the best; none: never.
  explicit EarlyStopping(std::optional<std::uint64_t> patience) : patience_(patience) {}

  /// Adds the loss after a step, NaN being the worst. Whether it is the best so far.
  bool add(std::uint64_t step, double loss);

  [[nodiscard]] bool stops() const { return patience_ && worse_ >= *patience_; }
  /// The best evaluation's step; none if there was no evaluation.
  [[nodiscard]] std::optional<std::uint64_t> best_step() const { return best_step_; }

 private:
  std::optional<std::uint64_t> patience_;
  std::optional<std::uint64_t> best_step_;
  double best_loss_ = 0;
  std::uint64_t worse_ = 0;
};

}  // namespace fathom
