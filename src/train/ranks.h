#pragma once

#include <cstddef>
#include <span>
#include <string>

// Declared only: the command line has ranks, too, and is compiled without torch's headers.
namespace at {
class Tensor;
}

namespace fathom {

/// Processes that train one model together, each with a share of every step's rows. All of them
/// make the same calls of what follows, in the same order and with tensors of the same shapes: a
/// call waits for the others'. If one of them ends, so do all.
class Ranks {
 public:
  Ranks() = default;
  virtual ~Ranks() = default;
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  [[nodiscard]] virtual std::size_t size() const = 0;  ///< how many there are: at least 1
  [[nodiscard]] virtual std::size_t rank() const = 0;  ///< which of them this is, from 0
  /// Which of those on this machine this is, from 0.
  [[nodiscard]] virtual std::size_t local_rank() const = 0;

  /// Begins to replace a tensor by its sum over all ranks, which is the same on each to the bit,
  /// and returns at once. The tensor is contiguous, of float32 or float64, and is not touched until
  /// finish_sums() returns.
  virtual void begin_sum(const at::Tensor& tensor) = 0;
  /// Waits for all sums that were begun.
  virtual void finish_sums() = 0;

  /// Replaces numbers by their sums over all ranks.
  virtual void sum(std::span<double> values) = 0;
  /// Copies the first rank's tensor, as begin_sum() takes it, into those of the others.
  virtual void broadcast(const at::Tensor& tensor) = 0;
  /// The first rank's text.
  [[nodiscard]] virtual std::string broadcast(const std::string& text) = 0;

  /// Ends all ranks, with this exit code.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  /// The first rank is the one that writes files and talks.
  [[nodiscard]] bool is_first() const { return rank() == 0; }
  /// Whether it is so on any rank.
  [[nodiscard]] bool any(bool here);
  /// The sum of a number over all ranks.
  [[nodiscard]] double sum(double value);
};

/// A process on its own.
class OneRank final : public Ranks {
 public:
  [[nodiscard]] std::size_t size() const override { return 1; }
  [[nodiscard]] std::size_t rank() const override { return 0; }
  [[nodiscard]] std::size_t local_rank() const override { return 0; }
  void begin_sum(const at::Tensor& /*tensor*/) override {}
  void finish_sums() override {}
  using Ranks::sum;
  void sum(std::span<double> /*values*/) override {}
  void broadcast(const at::Tensor& /*tensor*/) override {}
  [[nodiscard]] std::string broadcast(const std::string& text) override { return text; }
  [[noreturn]] void abort(int exit_code) override;
};

}  // namespace fathom
