#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace fathom {

/// How the rows of an epoch are put into batches: all of them once, in an order that depends on the
/// seed and the epoch alone, rows of like length together. The rows are shuffled, those of every
/// `bucket` batches sorted by length and cut into batches, and these shuffled. The last batch may
/// be smaller. Within a batch rows are sorted by length. `batch` is at least 1.
std::vector<std::vector<std::size_t>> epoch_batches(std::span<const std::size_t> lengths,
                                                    std::size_t batch, std::uint64_t seed,
                                                    std::uint64_t epoch);

/// How many steps of so many batches take an epoch.
std::uint64_t epoch_steps(std::size_t rows, std::size_t batch, std::size_t accumulate);

/// The batches that each step of a training takes, an epoch after the other.
class StepBatches {
 public:
  /// `lengths` are the rows', of which there is at least one; a step takes `accumulate` batches of
  /// `batch` rows, at least 1 of each. An epoch's last step may have fewer.
  StepBatches(std::vector<std::size_t> lengths, std::size_t batch, std::size_t accumulate,
              std::uint64_t seed);

  /// Those of a step, from 0. They stay until the next call.
  [[nodiscard]] std::span<const std::vector<std::size_t>> of_step(std::uint64_t step);

 private:
  std::vector<std::size_t> lengths_;
  std::size_t batch_, accumulate_;
  std::uint64_t seed_;
  std::optional<std::uint64_t> epoch_;  // the one that batches_ are of
  std::vector<std::vector<std::size_t>> batches_;
};

}  // namespace fathom
