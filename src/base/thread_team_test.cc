#include "base/thread_team.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"

namespace fathom {
namespace {

TEST(ThreadTeam, SharesCoverAllItemsInOrder) {
  for (std::size_t items = 0; items < 40; ++items) {
    for (int workers = 1; workers <= 9; ++workers) {
      std::size_t next = 0;
      for (int worker = 0; worker < workers; ++worker) {
        const WorkRange range = share_of(items, worker, workers);
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(range.end - range.begin, items / static_cast<std::size_t>(workers) + 1);
        next = range.end;
      }
      EXPECT_EQ(next, items);
    }
  }
}

TEST(ThreadTeam, EveryWorkerRunsOnceARound) {
  for (const int size : {1, 2, 3, 8}) {
    ThreadTeam team(size);
    ASSERT_EQ(team.size(), size);
    std::vector<int> calls(static_cast<std::size_t>(size), 0);
    for (int round = 0; round < 2000; ++round) {
      team.run([&](int worker) { ++calls[static_cast<std::size_t>(worker)]; });
    }
    for (const int n : calls) EXPECT_EQ(n, 2000);
  }
}

TEST(ThreadTeam, WorkersThatSleptWakeUp) {
  ThreadTeam team(3);
  std::atomic<int> calls{0};
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    team.run([&](int) { ++calls; });
  }
  EXPECT_EQ(calls.load(), 15);
}

TEST(ThreadTeam, WritesOfOneRoundAreSeenInTheNext) {
  ThreadTeam team(3);
  // Each round adds to every item what its mirror image held, which another worker wrote.
  std::vector<unsigned> values(300, 1);
  std::vector<unsigned> next(values.size());
  for (int round = 0; round < 500; ++round) {
    team.run_shares(values.size(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) next[i] = values[i] + values[values.size() - 1 - i];
    });
    values.swap(next);
    for (const unsigned value : values) ASSERT_EQ(value, values.front());
  }
}

TEST(ThreadTeam, AnExceptionReachesTheCallerAndTheTeamGoesOn) {
  ThreadTeam team(4);
  for (int thrower = 0; thrower < 4; ++thrower) {
    EXPECT_THROW(team.run([&](int worker) {
      if (worker == thrower) throw std::runtime_error("no");
    }),
                 std::runtime_error);
    std::atomic<int> calls{0};
    team.run([&](int) { ++calls; });
    EXPECT_EQ(calls.load(), 4);
  }
}

TEST(ThreadTeam, RefusesImpossibleSizes) {
  EXPECT_THROW(ThreadTeam(0), InputError);
  EXPECT_THROW(ThreadTeam(-1), InputError);
  EXPECT_THROW(ThreadTeam(1025), InputError);
}

}  // namespace
}  // namespace fathom
