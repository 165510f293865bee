#pragma once

#include <ATen/core/Tensor.h>

namespace fathom {

/// What ranks (train/ranks.h) do with tensors of the same shapes: contiguous ones of float32 or
/// float64.
class TensorExchange {
 public:
  TensorExchange() = default;
  virtual ~TensorExchange() = default;
  TensorExchange(const TensorExchange&) = delete;
  TensorExchange& operator=(const TensorExchange&) = delete;

  /// Begins to replace a tensor by its sum over all ranks, which is the same on each to the bit,
  /// and returns at once. Nobody else touches the tensor until finish_sums() returns.
  virtual void begin_sum(const at::Tensor& tensor) = 0;
  /// Waits for all sums that were begun. On a GPU, what is computed next does.
  virtual void finish_sums() = 0;
  /// Copies the first rank's tensor into those of the others.
  virtual void broadcast(const at::Tensor& tensor) = 0;
};

}  // namespace fathom
