#include "train/tensor_file.h"

#include <c10/core/GradMode.h>
#include <cstddef>

#include "formats/safetensors.h"
#include "nn/parameters.h"

namespace fathom {

HostTensors::HostTensors(const std::map<std::string, at::Tensor>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& host =
        tensors_.emplace_back(tensor.detach().to(at::kCPU, at::kFloat).contiguous());
    views_.push_back({.name = name,
                      .type = TensorType::F32,
                      .shape = std::vector<std::size_t>(host.sizes().begin(), host.sizes().end()),
                      .bytes = std::as_bytes(std::span(host.data_ptr<float>(),
                                                       static_cast<std::size_t>(host.numel())))});
  }
}

void read_tensors(const std::filesystem::path& path,
                  const std::map<std::string, at::Tensor>& tensors) {
  const c10::NoGradGuard guard;
  const TensorSource source = open_safetensors(path);
  for (const auto& [name, tensor] : tensors) {
    const std::vector<std::size_t> shape(tensor.sizes().begin(), tensor.sizes().end());
    at::Tensor into = tensor;
    into.copy_(read_tensor(source.require(name, shape)));
  }
}

}  // namespace fathom
