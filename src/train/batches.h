#pragma once

#include <cstddef>
#include <cstdint>
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

}  // namespace fathom
