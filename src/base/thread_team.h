#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace fathom {

/// A half-open range of work items.
struct WorkRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The part of `items` that worker `worker` of `workers` takes: contiguous, in order, even to one.
WorkRange share_of(std::size_t items, int worker, int workers);

/// Threads that run one function together, again and again. The calling thread is worker 0.
/// Workers spin briefly between calls, since a decoding step makes hundreds of them, then sleep.
class ThreadTeam {
 public:
  /// A team of `size` workers, 1 to 1024. Throws InputError outside that range.
  explicit ThreadTeam(int size);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  [[nodiscard]] int size() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls work(worker) once for each worker from 0 to size()-1, at the same time, and returns when
  /// all have returned. The first exception thrown is thrown on. From one thread at a time; not
  /// from inside `work`.
  template <class Work>
  void run(Work&& work) {
    if (threads_.empty()) {
      work(0);
      return;
    }
    using Callable = std::remove_reference_t<Work>;
    run_erased([](void* context, int worker) { (*static_cast<Callable*>(context))(worker); },
               const_cast<void*>(static_cast<const void*>(&work)));
  }

  /// Calls work(begin, end) on shares of 0..items-1, in parallel if there are at least
  /// `minimum_items` for each worker, else on the caller alone.
  template <class Work>
  void run_shares(std::size_t items, std::size_t minimum_items, Work&& work) {
    if (threads_.empty() || items < minimum_items * static_cast<std::size_t>(size())) {
      if (items > 0) work(std::size_t{0}, items);
      return;
    }
    run([&](int worker) {
      const WorkRange range = share_of(items, worker, size());
      if (range.begin < range.end) work(range.begin, range.end);
    });
  }

 private:
  using ErasedWork = void (*)(void* context, int worker);

  void run_erased(ErasedWork work, void* context);
  void worker_loop(int worker);
  void call_work(int worker) noexcept;

  ErasedWork work_ = nullptr;
  void* context_ = nullptr;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  // Own cache lines: the callers of one and the waiters of the other would slow each other down.
  alignas(64) std::atomic<std::uint32_t> round_{0};
  alignas(64) std::atomic<std::uint32_t> running_{0};
  alignas(64) std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace fathom
