#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "nn/torch_model.h"

namespace fathom {

/// torch's words for ours. Throws InputError if there is no such device.
at::Device torch_device(TorchDevice device);
at::ScalarType torch_type(TorchType type);

}  // namespace fathom
