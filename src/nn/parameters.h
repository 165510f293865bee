#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "formats/tensor_source.h"

namespace fathom {

/// A model's weights as tensors of torch: one for each stored tensor, in its shape and under its
/// name. Training changes these, so that what is written back has the layout of what was read.
class Parameters {
 public:
  /// What is asked for below is read from `source`, whatever its type, into `type` (float32,
  /// float64 or bfloat16) on `device`.
  Parameters(const TensorSource& source, at::ScalarType type, at::Device device)
      : source_(source), type_(type), device_(device) {}

  /// The whole stored tensor that `view` is one of or lies in. The same one each time.
  const at::Tensor& stored(const TensorView& view);

  /// All that were asked for, by name.
  [[nodiscard]] const std::map<std::string, at::Tensor>& all() const { return tensors_; }
  [[nodiscard]] std::map<std::string, at::Tensor>& all() { return tensors_; }
  [[nodiscard]] const TensorSource& source() const { return source_; }

 private:
  TensorSource source_;
  at::ScalarType type_;
  at::Device device_;
  std::map<std::string, at::Tensor> tensors_;
};

/// float32 weights of a stored tensor, dequantised, in its shape.
at::Tensor read_tensor(const TensorView& view);

}  // namespace fathom
