#include "nn/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <stdexcept>
#include <string>

#include "base/error.h"

namespace fathom {

TorchDevice parse_torch_device(std::string_view text) {
  if (text == "cpu") return TorchDevice::cpu;
  if (text == "cuda") return TorchDevice::cuda;
  throw InputError("--device " + std::string(text) + ": expected cpu or cuda");
}

TorchType parse_torch_type(std::string_view text) {
  if (text == "float32") return TorchType::float32;
  if (text == "bfloat16") return TorchType::bfloat16;
  throw InputError("--dtype " + std::string(text) + ": expected float32 or bfloat16");
}

void set_torch_threads(int threads) { at::set_num_threads(threads); }

at::Device torch_device(TorchDevice device, std::size_t number) {
  if (device == TorchDevice::cpu) return at::kCPU;
  if (!at::globalContext().hasCUDA()) {
    throw InputError(
        "--device cuda: no CUDA device, or a libtorch that was built without CUDA; expected cpu");
  }
  return {at::kCUDA, static_cast<at::DeviceIndex>(number % at::getNumGPUs())};
}

at::ScalarType torch_type(TorchType type) {
  switch (type) {
    case TorchType::float32:
      return at::kFloat;
    case TorchType::bfloat16:
      return at::kBFloat16;
    case TorchType::float64:
      return at::kDouble;
  }
  throw std::logic_error("unknown type");
}

at::ScalarType master_type(TorchType type) {
  return type == TorchType::float64 ? at::kDouble : at::kFloat;
}

}  // namespace fathom
