#pragma once

#include <ATen/core/Tensor.h>

namespace fathom {

// Losses of predictions, summed over rows and times `weight`. Value and gradient are computed
// together, some rows at a time, so that no other table of the logits' size is needed: when a
// function returns, `logits` [rows][vocabulary] hold the loss's gradient to them. Whatever their
// type, it computes in float32, or in float64 if they are. Gives the loss, [] on their device.

/// Cross-entropy of `labels` [rows], int64.
at::Tensor cross_entropy_and_gradient(at::Tensor logits, const at::Tensor& labels, double weight);

/// KL(p || q) of the softmax p of `full` [rows][vocabulary] and that of `logits`, q.
at::Tensor divergence_and_gradient(at::Tensor logits, const at::Tensor& full, double weight);

}  // namespace fathom
