#include "train/prediction_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <c10/core/GradMode.h>
#include <cstdint>

namespace fathom {
namespace {

at::ScalarType computing_type(const at::Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Of how many rows at once. CPUs find again in their caches what one operation has left for the
// next; GPUs would rather have all.
std::int64_t rows_at_once(const at::Tensor& logits) {
  constexpr std::int64_t bytes = 4 << 20;
  if (logits.is_cuda()) return std::max<std::int64_t>(1, logits.size(0));
  const auto row = logits.size(1) * static_cast<std::int64_t>(c10::elementSize(at::kFloat));
  return std::max<std::int64_t>(1, bytes / row);
}

// loss(first, count, rows) finds the rows' log-probabilities in `rows`, leaves its gradient to
// their logits there and gives its value.
template <typename Loss>
at::Tensor by_rows(const at::Tensor& logits, double weight, const Loss& loss) {
  const c10::NoGradGuard guard;
  const at::ScalarType type = computing_type(logits);
  at::Tensor sum = at::zeros({}, logits.options().dtype(type));
  const std::int64_t most = rows_at_once(logits);
  for (std::int64_t first = 0; first < logits.size(0); first += most) {
    const std::int64_t count = std::min(most, logits.size(0) - first);
    at::Tensor rows = logits.narrow(0, first, count);
    const at::Tensor gradient = at::log_softmax(rows, -1, type);
    sum += loss(first, count, gradient);
    rows.copy_(gradient.mul_(weight));
  }
  return sum * weight;
}

}  // namespace

at::Tensor cross_entropy_and_gradient(at::Tensor logits, const at::Tensor& labels, double weight) {
  return by_rows(logits, weight, [&](std::int64_t first, std::int64_t count, at::Tensor rows) {
    const at::Tensor places = labels.narrow(0, first, count).unsqueeze(1);
    const at::Tensor loss = rows.gather(1, places).sum().neg();
    rows.exp_();
    rows.scatter_add_(1, places, at::full(places.sizes(), -1, rows.options()));
    return loss;
  });
}

at::Tensor divergence_and_gradient(at::Tensor logits, const at::Tensor& full, double weight) {
  return by_rows(logits, weight, [&](std::int64_t first, std::int64_t count, at::Tensor rows) {
    const at::Tensor log_p = at::log_softmax(full.narrow(0, first, count), -1, rows.scalar_type());
    const at::Tensor p = log_p.exp();
    const at::Tensor loss = ((log_p - rows) * p).sum();
    rows.exp_().sub_(p);
    return loss;
  });
}

}  // namespace fathom
