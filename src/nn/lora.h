#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/strong_types.h"
#include "model/lora_adapter.h"
#include "model/model_config.h"

namespace fathom {

/// The factors of one linear map in training: y = W x + scale * B (A x).
struct LoraTensors {
  LayerIndex layer;
  LinearRole role = LinearRole::query;
  at::Tensor a;  ///< [rank][inputs]
  at::Tensor b;  ///< [outputs][rank], the outputs in the order of the model's own weight
};

/// A LoRA adapter in training [Hu et al. 2021]: factors for all linear maps of some layers.
class LoraParameters {
 public:
  /// Begins as PEFT does: A uniform in +-1/sqrt(inputs), keyed by the seed, B of zeros, so that the
  /// model is as it was. The scale is alpha / rank.
  LoraParameters(const ModelConfig& config, std::span<const LayerIndex> layers, std::size_t rank,
                 double alpha, std::uint64_t seed, at::TensorOptions options);

  [[nodiscard]] double scale() const { return scale_; }
  [[nodiscard]] const std::vector<LoraTensors>& maps() const { return maps_; }
  /// All factors, by the names that PEFT gives them.
  [[nodiscard]] std::map<std::string, at::Tensor> by_name(const ModelConfig& config) const;

 private:
  double scale_;
  std::vector<LoraTensors> maps_;
};

}  // namespace fathom
