#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <string>

#include "formats/tensor_source.h"

namespace fathom {

/// Copies of tensors in float32 and in their shapes, as if a file held them: who reads them may
/// give their pages back (release_resident()), as readers of files do. Throws std::system_error if
/// there is no memory.
TensorSource weights_in_memory(const std::map<std::string, at::Tensor>& tensors);

}  // namespace fathom
