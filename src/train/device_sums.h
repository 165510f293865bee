#pragma once

#include <ATen/core/Tensor.h>
#include <memory>

#include "train/ranks.h"

namespace fathom {

/// Sums over ranks of tensors on their GPUs, one GPU a rank, which never leave these.
class DeviceSums {
 public:
  DeviceSums() = default;
  virtual ~DeviceSums() = default;
  DeviceSums(const DeviceSums&) = delete;
  DeviceSums& operator=(const DeviceSums&) = delete;

  /// As TensorExchange::begin_sum(): the sum follows what was computed so far, and what is computed
  /// next does not wait for it.
  virtual void begin_sum(const at::Tensor& tensor) = 0;
  /// What is computed next follows the sums that were begun.
  virtual void finish() = 0;
};

/// Sums by NCCL on this device. All ranks call this together. Null in a program that was built
/// without NCCL. Throws std::runtime_error if NCCL cannot connect them.
std::unique_ptr<DeviceSums> open_device_sums(Ranks& ranks, at::Device device);

}  // namespace fathom
