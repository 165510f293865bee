#pragma once

#include <array>
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

/// Part `part` of `parts` of `items`: contiguous, in order, even to one.
WorkRange share_of(std::size_t items, std::size_t part, std::size_t parts);

/// Threads that do one piece of work together, again and again. The calling thread is worker 0. The
/// work of a round is cut into parts, which free workers take one by one: a worker that another
/// process keeps from its CPU holds up no more than the part that it is at. Workers spin briefly
/// between rounds, since a decoding step makes hundreds of them, then sleep.
class ThreadTeam {
 public:
  /// A team of `size` workers, 1 to 1024. Throws InputError outside that range.
  explicit ThreadTeam(int size);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  [[nodiscard]] int size() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls work(part) once for each part from 0 to size()-1 and returns when all have returned. A
  /// worker that is free takes the next part, so one may do several. The first exception thrown is
  /// thrown on. From one thread at a time; not from inside `work`.
  template <class Work>
  void run(Work&& work) {
    run_parts(static_cast<std::uint32_t>(size()),
              [&](std::uint32_t part, int /*worker*/) { work(static_cast<int>(part)); });
  }

  /// Calls work(begin, end) or work(begin, end, worker) on ranges that together are 0..items-1, in
  /// parallel if there are at least `minimum_items` for each worker, else on the caller alone. No
  /// two calls have the same `worker` at the same time.
  template <class Work>
  void run_shares(std::size_t items, std::size_t minimum_items, Work&& work) {
    const auto call = [&](WorkRange range, int worker) {
      if (range.begin == range.end) return;
      if constexpr (std::is_invocable_v<Work&, std::size_t, std::size_t, int>) {
        work(range.begin, range.end, worker);
      } else {
        work(range.begin, range.end);
      }
    };
    const auto workers = static_cast<std::size_t>(size());
    if (threads_.empty() || items < minimum_items * workers) return call({0, items}, 0);
    run_parts(static_cast<std::uint32_t>(stages.size() * workers),
              [&](std::uint32_t part, int worker) { call(range_of(items, part), worker); });
  }

 private:
  using ErasedWork = void (*)(void* context, std::uint32_t part, int worker);

  // A round is shared out in stages of one part for each worker, large parts first: few parts while
  // all goes well, small ones where waiting for the last would show. In eighths of the items.
  static constexpr std::array<std::size_t, 3> stages{5, 2, 1};
  [[nodiscard]] WorkRange range_of(std::size_t items, std::uint32_t part) const;

  template <class Work>
  void run_parts(std::uint32_t parts, Work&& work) {
    if (threads_.empty()) {
      for (std::uint32_t part = 0; part < parts; ++part) work(part, 0);
      return;
    }
    using Callable = std::remove_reference_t<Work>;
    run_erased([](void* context, std::uint32_t part,
                  int worker) { (*static_cast<Callable*>(context))(part, worker); },
               const_cast<void*>(static_cast<const void*>(&work)), parts);
  }

  void run_erased(ErasedWork work, void* context, std::uint32_t parts);
  void worker_loop(int worker);
  void take_parts(int worker);
  void call_work(std::uint32_t part, int worker) noexcept;

  // Of the round at hand. Read only by who holds a part of it, which keeps the round from ending.
  ErasedWork work_ = nullptr;
  void* context_ = nullptr;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  // Own cache lines: the callers of one and the waiters of the other would slow each other down.
  // Parts of the round in the upper half, the next one to take in the lower.
  alignas(64) std::atomic<std::uint64_t> next_{0};
  alignas(64) std::atomic<std::uint32_t> done_{0};
  alignas(64) std::atomic<std::uint32_t> round_{0};
  alignas(64) std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace fathom
