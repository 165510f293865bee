#include "nn/skip_gates.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <c10/core/GradMode.h>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "model/controller_file.h"

namespace fathom {
namespace {

constexpr double initial_probability = 0.9;

}  // namespace

SkipGates::SkipGates(const ModelConfig& config, ControllerInput input,
                     const at::TensorOptions& options)
    : depth_(config.depth()), input_(input) {
  if (depth_ < 3) {
    throw InputError("skip controllers need a model of at least 3 layers; this one has " +
                     std::to_string(depth_));
  }
  const double odds = std::log(initial_probability / (1 - initial_probability));
  for (LayerIndex layer{1}; has_gate(layer); ++layer) {
    parameters_[gate_weight_name(layer)] =
        at::zeros({2, static_cast<std::int64_t>(config.width)}, options);
    at::Tensor bias = at::zeros({2}, options);
    bias.select(0, 0).fill_(odds / 2);
    bias.select(0, 1).fill_(-odds / 2);
    parameters_[gate_bias_name(layer)] = bias;
  }
  for (auto& [name, parameter] : parameters_) parameter.set_requires_grad(true);
}

at::Tensor SkipGates::logits(LayerIndex layer, const at::Tensor& states) const {
  const at::Tensor& weight = parameters_.at(gate_weight_name(layer));
  const at::Tensor& bias = parameters_.at(gate_bias_name(layer));
  if (input_ == ControllerInput::fixed) {
    return (weight.sum(1) + bias).unsqueeze(0).expand({states.size(0), 2});
  }
  return at::linear(states.detach().to(weight.scalar_type()), weight, bias);
}

SkipControllers SkipGates::controllers() const {
  const c10::NoGradGuard guard;
  std::vector<GateWeights> gates;
  std::size_t width = 0;
  for (LayerIndex layer{1}; has_gate(layer); ++layer) {
    const auto host = [&](const std::string& name) {
      return parameters_.at(name).detach().to(at::kCPU, at::kFloat).contiguous();
    };
    const at::Tensor weight = host(gate_weight_name(layer));
    const at::Tensor bias = host(gate_bias_name(layer));
    const auto* const values = weight.data_ptr<float>();
    width = static_cast<std::size_t>(weight.size(1));
    gates.push_back({.weight = std::vector<float>(values, values + weight.numel()),
                     .bias = {bias.data_ptr<float>()[0], bias.data_ptr<float>()[1]}});
  }
  return {depth_, width, input_, std::move(gates)};
}

at::Tensor execute_probability(const at::Tensor& logits) {
  return at::softmax(logits, -1).select(1, 0);
}

at::Tensor soft_gate(const at::Tensor& logits, const at::Tensor& noise) {
  return execute_probability(logits + noise);
}

// Written so that the forward value is the hard one to the bit: the two soft ones cancel.
at::Tensor hard_gate(const at::Tensor& logits, const at::Tensor& noise) {
  const at::Tensor soft = soft_gate(logits, noise);
  const at::Tensor perturbed = (logits + noise).detach();
  const at::Tensor hard = perturbed.select(1, 0).ge(perturbed.select(1, 1)).to(soft.scalar_type());
  return hard + (soft - soft.detach());
}

at::Tensor gumbel_noise(std::uint64_t seed, LayerIndex layer, std::span<const NoiseKey> rows) {
  at::Tensor noise = at::empty({static_cast<std::int64_t>(rows.size()), 2}, at::kFloat);
  auto* value = noise.data_ptr<float>();
  for (const NoiseKey& row : rows) {
    RandomStream random({.seed = seed,
                         .purpose = RandomPurpose::training_gate,
                         .sequence = row.sequence,
                         .position = static_cast<std::uint32_t>(row.position.value),
                         .layer = static_cast<std::uint32_t>(layer.value)});
    for (int each = 0; each < 2; ++each) {
      // 0 has no logarithm.
      const double uniform = std::max(random.uniform(), 0x1p-54);
      *value++ = static_cast<float>(-std::log(-std::log(uniform)));
    }
  }
  return noise;
}

at::Tensor summed_divergence(const at::Tensor& logits, const at::Tensor& log_q) {
  const at::Tensor log_p = at::log_softmax(logits, -1);
  return (log_p.exp() * (log_p - log_q)).sum();
}

}  // namespace fathom
