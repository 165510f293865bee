#pragma once

#include <cstddef>
#include <optional>
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
  /// With what an adapter adds; nullptr if it adds nothing.
  [[nodiscard]] LinearMap map(const LowRankAddend* addend) const {
    return {.weights = &weight, .bias = bias, .addend = addend};
  }
};

/// The weights of a norm, as the kernels take them.
struct PackedNorm {
  std::vector<float> weight;
  std::vector<float> bias;  ///< empty if the model's norms are of a kind without

  [[nodiscard]] std::size_t bytes() const { return (weight.size() + bias.size()) * sizeof(float); }
};

/// As LayerTensors.
struct PackedLayer {
  PackedNorm attention_norm;
  PackedLinear query, key, value;
  std::optional<PackedNorm> query_norm, key_norm;
  PackedLinear attention_output;
  std::optional<PackedNorm> attention_output_norm;
  PackedNorm ffn_norm;
  std::optional<PackedLinear> gate;
  PackedLinear up, down;
  std::optional<PackedNorm> ffn_output_norm;

  [[nodiscard]] std::size_t bytes() const;
};

/// All weights of a model, packed. The embeddings of tokens and positions stay in their file: a
/// token reads one row of each.
class CpuWeights {
 public:
  CpuWeights(const ModelTensors& tensors, const ModelConfig& config, Precision precision,
             ThreadTeam& team);

  [[nodiscard]] const PackedLayer& layer(LayerIndex index) const { return layers_[index.index()]; }
  /// nullptr if the model has none.
  [[nodiscard]] const PackedNorm* output_norm() const {
    return output_norm_ ? &*output_norm_ : nullptr;
  }
  /// From the embedding into the layers and from them to the head; nullptr if they have the same
  /// width.
  [[nodiscard]] const PackedLinear* project_in() const {
    return project_in_ ? &*project_in_ : nullptr;
  }
  [[nodiscard]] const PackedLinear* project_out() const {
    return project_out_ ? &*project_out_ : nullptr;
  }
  [[nodiscard]] const PackedMatrix& head() const { return head_; }
  /// What a decoding step reads, without the cache's part.
  [[nodiscard]] TokenBytes token_bytes() const;

 private:
  Arena arena_;  // of all matrices
  std::vector<PackedLayer> layers_;
  std::optional<PackedNorm> output_norm_;
  std::optional<PackedLinear> project_in_, project_out_;
  PackedMatrix head_;
};

}  // namespace fathom
