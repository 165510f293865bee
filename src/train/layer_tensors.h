#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/model_files.h"

namespace fathom {

/// For each layer of the model the stored tensors that its weights are in, of `tensors` by name. A
/// tensor that holds several weights is named as often.
std::vector<std::vector<at::Tensor>> layer_tensors(
    const ModelFiles& files, const std::map<std::string, at::Tensor>& tensors);

/// Those of `tensors` that are in no layer.
std::vector<at::Tensor> tensors_outside(std::span<const std::vector<at::Tensor>> layers,
                                        const std::map<std::string, at::Tensor>& tensors);

}  // namespace fathom
