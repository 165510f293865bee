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
    for (std::size_t parts = 1; parts <= 9; ++parts) {
      std::size_t next = 0;
      for (std::size_t part = 0; part < parts; ++part) {
        const WorkRange range = share_of(items, part, parts);
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(range.end - range.begin, items / parts + 1);
        next = range.end;
      }
      EXPECT_EQ(next, items);
    }
  }
}

TEST(ThreadTeam, EveryPartRunsOnceARound) {
  for (const int size : {1, 2, 3, 8}) {
    ThreadTeam team(size);
    ASSERT_EQ(team.size(), size);
    std::vector<int> calls(static_cast<std::size_t>(size), 0);
    for (int round = 0; round < 2000; ++round) {
      team.run([&](int part) { ++calls[static_cast<std::size_t>(part)]; });
    }
    for (const int n : calls) EXPECT_EQ(n, 2000);
  }
}

TEST(ThreadTeam, RangesCoverAllItemsOnceAndWorkersDoNotMeet) {
  for (const int size : {1, 2, 3, 5}) {
    ThreadTeam team(size);
    std::vector<int> busy(static_cast<std::size_t>(size), 0);
    for (std::size_t items = 0; items < 100; ++items) {
      std::vector<int> calls(items, 0);
      team.run_shares(items, 1, [&](std::size_t begin, std::size_t end, int worker) {
        EXPECT_LT(begin, end);
        int& mine = busy.at(static_cast<std::size_t>(worker));
        EXPECT_EQ(mine++, 0);
        for (std::size_t i = begin; i < end; ++i) ++calls[i];
        --mine;
      });
      for (const int n : calls) ASSERT_EQ(n, 1) << items << " items, " << size << " workers";
    }
  }
}

// A worker that is kept from its CPU holds up the part that it is at; the others' are done without
// it.
TEST(ThreadTeam, PartsDoNotWaitForAWorkerThatIsBusy) {
  ThreadTeam team(2);
  std::atomic<std::size_t> by_caller{0};
  std::atomic<bool> helper_stuck{false};
  const std::thread::id caller = std::this_thread::get_id();
  team.run_shares(800, 1, [&](std::size_t begin, std::size_t end) {
    if (std::this_thread::get_id() == caller) {
      // The helper gets its first part before the caller goes on.
      while (!helper_stuck.load()) std::this_thread::yield();
      by_caller += end - begin;
    } else {
      helper_stuck = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  EXPECT_GE(by_caller.load(), 550U);
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
