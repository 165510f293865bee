#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <cstddef>

#include "nn/torch_model.h"

namespace fathom {

/// torch's words for ours: the GPU of that number, counted around, if it is one. Throws InputError
/// if there is no such device.
at::Device torch_device(TorchDevice device, std::size_t number = 0);
at::ScalarType torch_type(TorchType type);
/// What weights in training are kept in. Products in bfloat16 still change weights in float32:
/// their steps are smaller than bfloat16's.
at::ScalarType master_type(TorchType type);

}  // namespace fathom
