#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/arena.h"
#include "base/thread_team.h"
#include "depth/cost.h"
#include "kernels/packed_matrix.h"
#include "kernels/products.h"
#include "model/model_config.h"
#include "model/model_tensors.h"

namespace fathom {

/// How numbers are kept and multiplied.
enum class Precision {
  /// Weights widened to float32, float32 activations and cache: the reference.
  exact,
  /// Weights as stored, int8 activations against integer weights and float32 against float16 and
  /// bfloat16, 16-bit cache.
  fast,
};

/// A linear map in the kernels' layout.
struct PackedLinear {
  PackedMatrix weight;
  std::vector<float> bias;  ///< empty if there is none

  [[nodiscard]] LinearMap map() const { return {.weights = &weight, .bias = bias}; }
};

struct PackedLayer {
  std::vector<float> attention_norm;
  PackedLinear query, key, value, attention_output;
  std::vector<float> ffn_norm;
  PackedLinear gate, up, down;

  [[nodiscard]] std::size_t bytes() const;
};

/// All weights of a model, packed. The embedding stays in its file: a token reads one row of it.
class CpuWeights {
 public:
  CpuWeights(const ModelTensors& tensors, const ModelConfig& config, Precision precision,
             ThreadTeam& team);

  [[nodiscard]] const PackedLayer& layer(LayerIndex index) const { return layers_[index.index()]; }
  [[nodiscard]] std::span<const float> output_norm() const { return output_norm_; }
  [[nodiscard]] const PackedMatrix& head() const { return head_; }
  /// What a decoding step reads, without the cache's part.
  [[nodiscard]] TokenBytes token_bytes() const;

 private:
  Arena arena_;  // of all matrices
  std::vector<PackedLayer> layers_;
  std::vector<float> output_norm_;
  PackedMatrix head_;
};

}  // namespace fathom
