#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "base/strong_types.h"
#include "depth/skip_controllers.h"
#include "model/model_config.h"

namespace fathom {

/// Skip controllers as parameters that training changes [Glavas24 3.2].
class SkipGates {
 public:
  /// Weights of 0, and biases with which every gate opens with a probability of 0.9. Throws
  /// InputError if the model has no layer between its first and its last.
  SkipGates(const ModelConfig& config, ControllerInput input, const at::TensorOptions& options);

  /// By the names that the file of controllers has for them.
  [[nodiscard]] const std::map<std::string, at::Tensor>& parameters() const { return parameters_; }
  [[nodiscard]] bool has_gate(LayerIndex layer) const {
    return layer.value > 0 && layer.value < depth_ - 1;
  }
  [[nodiscard]] std::int32_t gated_layers() const { return depth_ - 2; }
  /// The logits, to execute and to skip, of rows that enter a layer with a gate with `states`
  /// [rows][width]: [rows][2]. No gradient flows into the states.
  [[nodiscard]] at::Tensor logits(LayerIndex layer, const at::Tensor& states) const;
  /// Their present values.
  [[nodiscard]] SkipControllers controllers() const;

 private:
  std::int32_t depth_;
  ControllerInput input_;
  std::map<std::string, at::Tensor> parameters_;
};

/// The probability of executing under the softmax of logits [rows][2]: [rows].
at::Tensor execute_probability(const at::Tensor& logits);

/// The share of "execute" in a Gumbel-softmax of temperature 1 [Jang et al., Categorical
/// reparameterization with Gumbel-softmax, 2017], between 0 and 1: [rows]. `noise` [rows][2] are
/// Gumbel variables.
at::Tensor soft_gate(const at::Tensor& logits, const at::Tensor& noise);
/// The same straight through: exactly 1 where "execute" is the greater and 0 elsewhere, with the
/// gradients of soft_gate().
at::Tensor hard_gate(const at::Tensor& logits, const at::Tensor& noise);

/// What the Gumbel variables of a row depend on, beside the layer.
struct NoiseKey {
  std::uint64_t sequence = 0;
  Position position;
};
/// Gumbel variables [rows][2] for a layer, float32 on the CPU: they depend on the keys alone.
at::Tensor gumbel_noise(std::uint64_t seed, LayerIndex layer, std::span<const NoiseKey> rows);

/// The divergence KL(p || q) of the softmax p of `logits` from q, summed over rows: [Glavas24 eq.
/// 1] with the routed model's p and the teacher's log q, both [rows][vocabulary].
at::Tensor summed_divergence(const at::Tensor& logits, const at::Tensor& log_q);

}  // namespace fathom
