#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "formats/tensor_source.h"

namespace fathom {

/// Tensors where their bytes can be read, in float32.
class HostTensors {
 public:
  explicit HostTensors(const std::map<std::string, at::Tensor>& tensors);
  /// By name, in its order.
  [[nodiscard]] std::span<const TensorView> views() const { return views_; }

 private:
  std::vector<at::Tensor> tensors_;
  std::vector<TensorView> views_;
};

/// Copies a safetensors file's tensors into those of the same names, all of which it must hold in
/// their shapes. Throws FileError.
void read_tensors(const std::filesystem::path& path,
                  const std::map<std::string, at::Tensor>& tensors);

}  // namespace fathom
