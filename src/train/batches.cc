#include "train/batches.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/random.h"

namespace fathom {
namespace {

// So many batches are sorted by length together: enough that their rows are of nearly one length,
// few enough that a batch still is a random choice.
constexpr std::size_t bucket = 32;

template <class T>
void shuffle(std::vector<T>& values, RandomStream& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

}  // namespace

std::vector<std::vector<std::size_t>> epoch_batches(std::span<const std::size_t> lengths,
                                                    std::size_t batch, std::uint64_t seed,
                                                    std::uint64_t epoch) {
  RandomStream random({.seed = seed, .purpose = RandomPurpose::batch, .sequence = epoch});
  std::vector<std::size_t> rows(lengths.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  shuffle(rows, random);
  std::vector<std::vector<std::size_t>> batches;
  for (std::size_t begin = 0; begin < rows.size(); begin += bucket * batch) {
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::size_t count = std::min(bucket * batch, rows.size() - begin);
    std::stable_sort(first, first + static_cast<std::ptrdiff_t>(count),
                     [&](std::size_t a, std::size_t b) { return lengths[a] < lengths[b]; });
    for (std::size_t i = 0; i < count; i += batch) {
      const auto from = first + static_cast<std::ptrdiff_t>(i);
      batches.emplace_back(from, from + static_cast<std::ptrdiff_t>(std::min(batch, count - i)));
    }
  }
  shuffle(batches, random);
  return batches;
}

std::uint64_t epoch_steps(std::size_t rows, std::size_t batch, std::size_t accumulate) {
  const std::size_t batches = (rows + batch - 1) / batch;
  return (batches + accumulate - 1) / accumulate;
}

StepBatches::StepBatches(std::vector<std::size_t> lengths, std::size_t batch,
                         std::size_t accumulate, std::uint64_t seed)
    : lengths_(std::move(lengths)), batch_(batch), accumulate_(accumulate), seed_(seed) {}

std::span<const std::vector<std::size_t>> StepBatches::of_step(std::uint64_t step) {
  const std::uint64_t of_epoch = epoch_steps(lengths_.size(), batch_, accumulate_);
  const std::uint64_t epoch = step / of_epoch;
  if (epoch_ != epoch) {
    batches_ = epoch_batches(lengths_, batch_, seed_, epoch);
    epoch_ = epoch;
  }
  const std::size_t first = step % of_epoch * accumulate_;
  return std::span(batches_).subspan(first, std::min(accumulate_, batches_.size() - first));
}

}  // namespace fathom
