#include "train/adamw.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <optional>

namespace fathom {
namespace {

double norm_of(const std::vector<at::Tensor>& gradients) {
  if (gradients.front().is_cuda()) {
    return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))).item<double>();
  }
  // First of rows, which threads share out: a whole tensor's norm is computed by one.
  std::vector<at::Tensor> norms;
  for (const at::Tensor& gradient : gradients) {
    norms.push_back(at::linalg_vector_norm(
        gradient.dim() > 1 ? at::linalg_vector_norm(gradient, 2, -1) : gradient));
  }
  return at::linalg_vector_norm(at::stack(norms)).item<double>();
}

}  // namespace

AdamW::AdamW(const std::map<std::string, at::Tensor>& parameters, const AdamWOptions& options)
    : options_(options) {
  const c10::NoGradGuard guard;
  for (const auto& [name, parameter] : parameters) {
    slots_.push_back({.name = name,
                      .parameter = parameter,
                      .mean = at::zeros_like(parameter),
                      .square = at::zeros_like(parameter),
                      .steps = at::zeros({}, parameter.options().dtype(at::kFloat))});
  }
}

double AdamW::step(double learning_rate) {
  const c10::NoGradGuard guard;
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.parameter.grad().defined()) gradients.push_back(slot.parameter.grad());
  }
  if (gradients.empty()) return 0;
  const double norm = norm_of(gradients);
  // As torch.nn.utils.clip_grad_norm_ has it, but the step divides: a pass over all of them less.
  std::optional<at::Tensor> divisor;
  const double factor = options_.clip / (norm + 1e-6);
  if (options_.clip > 0 && factor < 1) {
    divisor = at::full({}, 1 / factor, gradients.front().options().dtype(at::kFloat));
  }
  for (const bool decays : {true, false}) {
    std::vector<at::Tensor> parameters, means, squares, steps;
    gradients.clear();
    for (const Slot& slot : slots_) {
      if (!slot.parameter.grad().defined() || (slot.parameter.dim() > 1) != decays) continue;
      parameters.push_back(slot.parameter);
      gradients.push_back(slot.parameter.grad());
      means.push_back(slot.mean);
      squares.push_back(slot.square);
      slot.steps.add_(1);
      steps.push_back(slot.steps);
    }
    if (parameters.empty()) continue;
    at::_fused_adamw_(parameters, gradients, means, squares, {}, steps, learning_rate,
                      options_.beta1, options_.beta2, decays ? options_.weight_decay : 0.0,
                      options_.epsilon, /*amsgrad=*/false, /*maximize=*/false, divisor);
  }
  for (Slot& slot : slots_) slot.parameter.mutable_grad().reset();
  return norm;
}

std::map<std::string, at::Tensor> AdamW::state() const {
  std::map<std::string, at::Tensor> state;
  for (const Slot& slot : slots_) {
    state["mean." + slot.name] = slot.mean;
    state["square." + slot.name] = slot.square;
    state["steps." + slot.name] = slot.steps;
  }
  return state;
}

}  // namespace fathom
