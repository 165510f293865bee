#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <span>

namespace fathom {

/// Indices as torch takes them: [values], int64.
at::Tensor index_tensor(std::span<const std::int64_t> values, at::Device device);

}  // namespace fathom
