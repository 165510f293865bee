#include "nn/index_tensor.h"

#include <ATen/ops/empty.h>
#include <algorithm>

namespace fathom {

at::Tensor index_tensor(std::span<const std::int64_t> values, at::Device device) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<std::int64_t>());
  return tensor.to(device);
}

}  // namespace fathom
