// Ranks connected by MPI. mpi_missing.cc stands in where there is no MPI library.
#include <ATen/core/Tensor.h>
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <mpi.h>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "train/device_sums.h"
#include "train/launch.h"
#include "train/tensor_exchange.h"

namespace fathom {
namespace {

// So many numbers go at once: MPI counts in int, and a part is copied before it is summed.
constexpr std::int64_t largest_part = std::int64_t{1} << 22;

MPI_Datatype type_of(const at::Tensor& tensor) {
  if (!tensor.is_contiguous()) throw std::logic_error("a contiguous tensor expected");
  if (tensor.scalar_type() == at::kFloat) return MPI_FLOAT;
  if (tensor.scalar_type() == at::kDouble) return MPI_DOUBLE;
  throw std::logic_error("a tensor of float32 or float64 expected");
}

// Calls `part` with the tensor's numbers, as many at once as MPI can count.
template <class Function>
void for_parts(const at::Tensor& tensor, Function part) {
  auto* bytes = static_cast<std::byte*>(tensor.data_ptr());
  const std::int64_t count = tensor.numel();
  for (std::int64_t begin = 0; begin < count; begin += largest_part) {
    part(bytes + begin * tensor.element_size(),
         static_cast<int>(std::min(largest_part, count - begin)));
  }
}

// A thread that does one thing after the other.
class Worker {
 public:
  Worker() : thread_([this] { run(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  std::future<void> add(std::function<void()> task) {
    std::packaged_task<void()> packaged(std::move(task));
    std::future<void> done = packaged.get_future();
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(packaged));
    }
    changed_.notify_one();
    return done;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return ending_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::packaged_task<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<void()>> tasks_;
  bool ending_ = false;
  std::thread thread_;  // the last: it uses the others
};

// MPI libraries take sums further only while someone is in one of their calls, so a thread of its
// own makes all calls, one after the other, while the others compute. It asks now and then instead
// of waiting in a call, which would take a processor from them. The one call that it does not make
// is MPI_Abort, since it may be waiting at that time; that takes MPI_THREAD_MULTIPLE.
class MpiRanks final : public Ranks, public TensorExchange {
 public:
  MpiRanks() {
    worker_.add([this] { begin(); }).get();
  }
  ~MpiRanks() override {
    worker_.add([] { MPI_Finalize(); }).wait();
  }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;

  [[nodiscard]] std::size_t size() const override { return size_; }
  [[nodiscard]] std::size_t rank() const override { return rank_; }
  [[nodiscard]] std::size_t local_rank() const override { return local_rank_; }

  void begin_sum(const at::Tensor& tensor) override {
    const MPI_Datatype type = type_of(tensor);
    if (!tensor.device().is_cpu() && !asked_for_device_sums_) {
      asked_for_device_sums_ = true;
      device_sums_ = open_device_sums(*this, tensor.device());
    }
    if (!tensor.device().is_cpu() && device_sums_) {
      device_sums_->begin_sum(tensor);
      return;
    }
    sums_.push_back(worker_.add([this, tensor, type] {
      // MPI reads and writes memory of processors.
      const bool here = tensor.device().is_cpu();
      const at::Tensor host = here ? tensor : tensor.to(at::kCPU);
      for_parts(host, [&](void* numbers, int count) {
        sum_numbers(numbers, count, type, static_cast<std::size_t>(host.element_size()));
      });
      if (!here) tensor.copy_(host);
    }));
  }
  void finish_sums() override {
    for (std::future<void>& sum : sums_) sum.get();
    sums_.clear();
    if (device_sums_) device_sums_->finish();
  }

  [[nodiscard]] TensorExchange& tensors() override { return *this; }

  void sum(std::span<double> values) override {
    worker_
        .add([&] {
          sum_numbers(values.data(), static_cast<int>(values.size()), MPI_DOUBLE, sizeof(double));
        })
        .get();
  }

  void broadcast(const at::Tensor& tensor) override {
    const MPI_Datatype type = type_of(tensor);
    worker_
        .add([&] {
          const bool here = tensor.device().is_cpu();
          const at::Tensor host = here ? tensor : tensor.to(at::kCPU);
          for_parts(host, [&](void* numbers, int count) { send_first(numbers, count, type); });
          if (!here) tensor.copy_(host);
        })
        .get();
  }
  [[nodiscard]] std::string broadcast(const std::string& text) override {
    std::string first = text;
    worker_
        .add([&] {
          std::uint64_t bytes = first.size();
          send_first(&bytes, 1, MPI_UINT64_T);
          first.resize(bytes);
          send_first(first.data(), static_cast<int>(bytes), MPI_CHAR);
        })
        .get();
    return first;
  }

  [[noreturn]] void abort(int exit_code) override {
    std::fflush(stdout);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::terminate();  // not reached: MPI_Abort ends this process too
  }

 private:
  void begin() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
    if (provided < MPI_THREAD_MULTIPLE) {
      throw InputError("this MPI library has no MPI_THREAD_MULTIPLE, which training needs");
    }
    int size = 0;
    int rank = 0;
    int local_rank = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm machine = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_rank(machine, &local_rank);
    MPI_Comm_free(&machine);
    size_ = static_cast<std::size_t>(size);
    rank_ = static_cast<std::size_t>(rank);
    local_rank_ = static_cast<std::size_t>(local_rank);
  }

  // Not MPI_IN_PLACE, for which Open MPI has no algorithm that shares the work among many ranks.
  void sum_numbers(void* numbers, int count, MPI_Datatype type, std::size_t size) {
    const auto* const bytes = static_cast<const std::byte*>(numbers);
    own_.assign(bytes, bytes + static_cast<std::size_t>(count) * size);
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Iallreduce(own_.data(), numbers, count, type, MPI_SUM, MPI_COMM_WORLD, &request);
    wait(request);
  }
  static void send_first(void* numbers, int count, MPI_Datatype type) {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibcast(numbers, count, type, 0, MPI_COMM_WORLD, &request);
    wait(request);
  }
  static void wait(MPI_Request request) {
    constexpr auto pause = std::chrono::microseconds(50);
    int done = 0;
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    while (done == 0) {
      std::this_thread::sleep_for(pause);
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
  }

  std::size_t size_ = 1, rank_ = 0, local_rank_ = 0;
  std::vector<std::future<void>> sums_;
  std::vector<std::byte> own_;  // the worker's: this rank's part of a sum
  bool asked_for_device_sums_ = false;
  std::unique_ptr<DeviceSums> device_sums_;  // none: GPUs' tensors go by way of the processor
  Worker worker_;                            // the last: it uses the others
};

}  // namespace

std::unique_ptr<Ranks> open_mpi_ranks() { return std::make_unique<MpiRanks>(); }

}  // namespace fathom
