#include "train/layer_tensors.h"

#include <algorithm>
#include <string_view>

#include "model/gguf_names.h"

namespace fathom {

std::vector<std::vector<at::Tensor>> layer_tensors(
    const ModelFiles& files, const std::map<std::string, at::Tensor>& tensors) {
  std::vector<std::vector<at::Tensor>> layers(files.config.layers);
  ModelTensors weights = files.tensors;  // whoever visits them may change them
  for_each_weight(weights, [&](const GgufWeight& weight, const TensorView& tensor) {
    constexpr std::string_view layer = "blk.";
    if (!weight.name.starts_with(layer)) return;
    layers[std::stoul(weight.name.substr(layer.size()))].push_back(tensors.at(tensor.name));
  });
  return layers;
}

std::vector<at::Tensor> tensors_outside(std::span<const std::vector<at::Tensor>> layers,
                                        const std::map<std::string, at::Tensor>& tensors) {
  std::vector<at::Tensor> outside;
  for (const auto& each : tensors) {
    const at::Tensor& tensor = each.second;
    const auto holds = [&](const std::vector<at::Tensor>& layer) {
      return std::ranges::any_of(layer,
                                 [&](const at::Tensor& other) { return other.is_same(tensor); });
    };
    if (std::ranges::none_of(layers, holds)) outside.push_back(tensor);
  }
  return outside;
}

}  // namespace fathom
