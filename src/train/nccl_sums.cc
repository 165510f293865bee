// Sums on GPUs by NCCL. nccl_missing.cc stands in where NCCL or CUDA's headers are missing.
#include <cstring>
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <stdexcept>
#include <string>

#include "train/device_sums.h"

namespace fathom {
namespace {

void require(cudaError_t error) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
  }
}

void require(ncclResult_t error) {
  if (error != ncclSuccess) {
    throw std::runtime_error(std::string("NCCL: ") + ncclGetErrorString(error));
  }
}

// An id's bytes as text, which ranks can send.
std::string text_of(const ncclUniqueId& id) { return {id.internal, sizeof id.internal}; }

class NcclSums final : public DeviceSums {
 public:
  NcclSums(Ranks& ranks, at::Device device) : device_(device.index()) {
    require(cudaSetDevice(device_));
    ncclUniqueId id{};
    if (ranks.is_first()) require(ncclGetUniqueId(&id));
    const std::string first = ranks.broadcast(text_of(id));
    std::memcpy(id.internal, first.data(), sizeof id.internal);
    require(ncclCommInitRank(&ranks_, static_cast<int>(ranks.size()), id,
                             static_cast<int>(ranks.rank())));
    // Streams that do not wait for the one that torch computes in unless they are told to.
    require(cudaStreamCreateWithFlags(&sums_, cudaStreamNonBlocking));
    require(cudaEventCreateWithFlags(&reached_, cudaEventDisableTiming));
  }
  ~NcclSums() override {
    cudaStreamSynchronize(sums_);
    ncclCommDestroy(ranks_);
    cudaEventDestroy(reached_);
    cudaStreamDestroy(sums_);
  }
  NcclSums(const NcclSums&) = delete;
  NcclSums& operator=(const NcclSums&) = delete;

  void begin_sum(const at::Tensor& tensor) override {
    follow(computing_, sums_);
    const ncclDataType_t type = tensor.scalar_type() == at::kDouble ? ncclDouble : ncclFloat;
    require(ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(),
                          static_cast<std::size_t>(tensor.numel()), type, ncclSum, ranks_, sums_));
  }
  void finish() override { follow(sums_, computing_); }

 private:
  // What comes next in `after` waits for what is in `before` now.
  void follow(cudaStream_t before, cudaStream_t after) {
    require(cudaSetDevice(device_));  // of this thread: it is the one whose default stream is meant
    require(cudaEventRecord(reached_, before));
    require(cudaStreamWaitEvent(after, reached_, 0));
  }

  int device_;
  // Nothing in fathom changes torch's stream: it is the default one, in backward passes too.
  cudaStream_t computing_ = nullptr;
  cudaStream_t sums_ = nullptr;
  cudaEvent_t reached_ = nullptr;
  ncclComm_t ranks_ = nullptr;
};

}  // namespace

std::unique_ptr<DeviceSums> open_device_sums(Ranks& ranks, at::Device device) {
  return std::make_unique<NcclSums>(ranks, device);
}

}  // namespace fathom
