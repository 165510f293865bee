#include "base/thread_team.h"

#include <utility>

#include <fmt/format.h>

#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom {
namespace {

// About 50 us of spinning on current machines: longer than the gaps inside a decoding step, much
// shorter than the wait for a person or a network.
constexpr int spins_before_yield = 2000;
constexpr int yields_before_sleep = 50;

void spin_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`: spins, then lets others run, then sleeps. Yielding
// matters when there are more workers than free CPUs.
template <class T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < spins_before_yield; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    spin_pause();
  }
  for (int i = 0; i < yields_before_sleep; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    std::this_thread::yield();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

WorkRange share_of(std::size_t items, std::size_t part, std::size_t parts) {
  const std::size_t each = items / parts;
  const std::size_t extra = items % parts;
  const std::size_t begin = part * each + (part < extra ? part : extra);
  return {begin, begin + each + (part < extra ? 1 : 0)};
}

ThreadTeam::ThreadTeam(int size) {
  if (size < 1 || size > 1024) {
    throw InputError(fmt::format("{} threads asked for; from 1 to 1024 are possible", size));
  }
  threads_.reserve(static_cast<std::size_t>(size) - 1);
  for (int worker = 1; worker < size; ++worker) {
    threads_.emplace_back([this, worker] { worker_loop(worker); });
  }
}

ThreadTeam::~ThreadTeam() {
  stopping_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

WorkRange ThreadTeam::range_of(std::size_t items, std::uint32_t part) const {
  const auto workers = static_cast<std::size_t>(size());
  const std::size_t stage = part / workers;
  std::size_t before = 0;
  for (std::size_t s = 0; s < stage; ++s) before += stages[s];
  const std::size_t begin = items * before / 8;
  const std::size_t end = items * (before + stages[stage]) / 8;
  const WorkRange range = share_of(end - begin, part % workers, workers);
  return {begin + range.begin, begin + range.end};
}

void ThreadTeam::call_work(std::uint32_t part, int worker) noexcept {
  try {
    work_(context_, part, worker);
  } catch (...) {
    const std::scoped_lock lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

// Takes parts of the round until none is left. A worker that comes late takes none, or those of the
// next round, which is as good.
void ThreadTeam::take_parts(int worker) {
  std::uint32_t taken = 0;
  std::uint32_t parts = 0;
  while (true) {
    const std::uint64_t next = next_.fetch_add(1, std::memory_order_acq_rel);
    const auto part = static_cast<std::uint32_t>(next);
    if (part >= next >> 32) break;
    parts = static_cast<std::uint32_t>(next >> 32);
    ++taken;
    call_work(part, worker);
  }
  if (taken > 0 && done_.fetch_add(taken, std::memory_order_acq_rel) + taken == parts) {
    done_.notify_all();
  }
}

void ThreadTeam::run_erased(ErasedWork work, void* context, std::uint32_t parts) {
  work_ = work;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  next_.store(std::uint64_t{parts} << 32, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  take_parts(0);
  for (auto done = done_.load(std::memory_order_acquire); done != parts;
       done = done_.load(std::memory_order_acquire)) {
    wait_while_equal(done_, done);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadTeam::worker_loop(int worker) {
  // The first round must not be missed by a thread that starts late, hence 0 and not a load.
  std::uint32_t seen = 0;
  while (true) {
    wait_while_equal(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    take_parts(worker);
  }
}

}  // namespace fathom
