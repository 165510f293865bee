#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace fathom {

class TensorExchange;

/// Processes that train one model together, each with a share of every step's rows. All of them
/// make the same calls of what follows, in the same order: a call waits for the others'. If one of
/// them ends, so do all.
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

  /// Replaces numbers by their sums over all ranks.
  virtual void sum(std::span<double> values) = 0;
  /// The first rank's text.
  [[nodiscard]] virtual std::string broadcast(const std::string& text) = 0;
  /// What they do with tensors.
  [[nodiscard]] virtual TensorExchange& tensors() = 0;

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
std::unique_ptr<Ranks> one_rank();

}  // namespace fathom
