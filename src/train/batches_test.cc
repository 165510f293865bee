#include "train/batches.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/schedule.h"

namespace fathom {
namespace {

std::vector<std::size_t> lengths(std::size_t count) {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < count; ++i) result.push_back(10 + i * 37 % 101);
  return result;
}

TEST(Batches, HoldEveryRowOnceSortedByLength) {
  const std::vector<std::size_t> rows = lengths(205);
  const auto batches = epoch_batches(rows, 4, 1, 0);
  ASSERT_EQ(batches.size(), 52U);
  std::vector<std::size_t> seen;
  std::size_t spread = 0;
  for (const auto& batch : batches) {
    seen.insert(seen.end(), batch.begin(), batch.end());
    EXPECT_TRUE(std::is_sorted(batch.begin(), batch.end(),
                               [&](auto a, auto b) { return rows[a] < rows[b]; }));
    spread += rows[batch.back()] - rows[batch.front()];
  }
  std::sort(seen.begin(), seen.end());
  std::vector<std::size_t> all(rows.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  EXPECT_EQ(seen, all);
  // Of lengths from 10 to 110, batches of four drawn at random would span some 60.
  EXPECT_LT(spread / batches.size(), 8U);
}

TEST(Batches, DependOnSeedAndEpochAlone) {
  const std::vector<std::size_t> rows = lengths(60);
  EXPECT_EQ(epoch_batches(rows, 4, 1, 2), epoch_batches(rows, 4, 1, 2));
  EXPECT_NE(epoch_batches(rows, 4, 1, 2), epoch_batches(rows, 4, 1, 3));
  EXPECT_NE(epoch_batches(rows, 4, 1, 2), epoch_batches(rows, 4, 2, 2));
}

// An epoch's batches one after another, then the next epoch's, from whichever step one begins.
TEST(StepBatches, GoThroughEpochs) {
  const std::vector<std::size_t> lengths{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
  constexpr std::size_t batch = 2, accumulate = 4;  // 6 batches, 2 steps an epoch
  StepBatches batches(lengths, batch, accumulate, 7);
  std::vector<std::vector<std::vector<std::size_t>>> steps;
  for (std::uint64_t step = 0; step < 6; ++step) {
    const auto of_step = batches.of_step(step);
    EXPECT_EQ(of_step.size(), step % 2 == 0 ? 4U : 2U);
    steps.emplace_back(of_step.begin(), of_step.end());
  }
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::vector<std::size_t>> together = steps[2 * epoch];
    together.insert(together.end(), steps[2 * epoch + 1].begin(), steps[2 * epoch + 1].end());
    EXPECT_EQ(together, epoch_batches(lengths, batch, 7, epoch));
  }
  StepBatches later(lengths, batch, accumulate, 7);
  for (const std::uint64_t step : {5U, 0U, 3U}) {
    const auto of_step = later.of_step(step);
    EXPECT_EQ(std::vector(of_step.begin(), of_step.end()), steps[step]);
  }
}

TEST(LinearSchedule, RisesAndFalls) {
  const LinearSchedule schedule{.peak = 1, .warmup = 4, .steps = 12};
  EXPECT_EQ(schedule.rate(0), 0);
  EXPECT_EQ(schedule.rate(2), 0.5);
  EXPECT_EQ(schedule.rate(4), 1);
  EXPECT_EQ(schedule.rate(8), 0.5);
  EXPECT_EQ(schedule.rate(11), 0.125);
  EXPECT_EQ(schedule.rate(12), 0);
  EXPECT_EQ((LinearSchedule{.peak = 1, .warmup = 0, .steps = 2}.rate(0)), 1);
}

}  // namespace
}  // namespace fathom
