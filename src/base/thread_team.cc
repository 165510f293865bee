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

WorkRange share_of(std::size_t items, int worker, int workers) {
  const auto w = static_cast<std::size_t>(worker);
  const auto n = static_cast<std::size_t>(workers);
  const std::size_t each = items / n;
  const std::size_t extra = items % n;
  const std::size_t begin = w * each + (w < extra ? w : extra);
  return {begin, begin + each + (w < extra ? 1 : 0)};
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

void ThreadTeam::call_work(int worker) noexcept {
  try {
    work_(context_, worker);
  } catch (...) {
    const std::scoped_lock lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadTeam::run_erased(ErasedWork work, void* context) {
  work_ = work;
  context_ = context;
  running_.store(static_cast<std::uint32_t>(threads_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  call_work(0);
  for (auto left = running_.load(std::memory_order_acquire); left != 0;
       left = running_.load(std::memory_order_acquire)) {
    wait_while_equal(running_, left);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadTeam::worker_loop(int worker) {
  // The first round must not be missed by a thread that starts late, hence 0 and not a load.
  std::uint32_t seen = 0;
  while (true) {
    wait_while_equal(round_, seen);
    ++seen;
    if (stopping_.load(std::memory_order_relaxed)) return;
    call_work(worker);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_all();
  }
}

}  // namespace fathom
