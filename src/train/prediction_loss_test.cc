#include "train/prediction_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "nn/index_tensor.h"

namespace fathom {
namespace {

// Enough rows that they are taken in several parts, the last one smaller.
constexpr std::int64_t rows = 100;
constexpr std::int64_t vocabulary = 20000;
constexpr double weight = 0.25;

at::Tensor random_logits(std::uint64_t seed, at::ScalarType type) {
  RandomStream random({.seed = seed});
  std::vector<double> values;
  for (std::int64_t i = 0; i < rows * vocabulary; ++i) values.push_back(12 * random.uniform() - 6);
  return at::tensor(values, at::kDouble).view({rows, vocabulary}).to(type);
}

at::Tensor random_labels() {
  RandomStream random({.seed = 3});
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < rows; ++i) {
    labels.push_back(static_cast<std::int64_t>(random.below(vocabulary)));
  }
  return index_tensor(labels, at::kCPU);
}

// What torch's own function of the logits and its gradient are in float64.
template <typename Function>
std::pair<double, at::Tensor> expected(const at::Tensor& logits, const Function& function) {
  const at::Tensor doubles = logits.to(at::kDouble).set_requires_grad(true);
  const at::Tensor loss = function(doubles) * weight;
  loss.backward();
  return {loss.template item<double>(), doubles.grad()};
}

// By how much a gradient, which is at most `weight`, may be off: in bfloat16 by half a unit in its
// last place, since it is rounded once.
double rounding(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return 1e-12;
    case at::kFloat:
      return 1e-6;
    default:
      return weight * std::ldexp(1, -9);
  }
}

class PredictionLossTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  static void expect_equal(const at::Tensor& loss, const at::Tensor& gradient,
                           const std::pair<double, at::Tensor>& expected) {
    const double relative = GetParam() == at::kDouble ? 1e-12 : 1e-6;
    EXPECT_NEAR(loss.item<double>(), expected.first, relative * expected.first);
    EXPECT_EQ(gradient.scalar_type(), GetParam());
    EXPECT_LE((gradient.to(at::kDouble) - expected.second).abs().max().item<double>(),
              rounding(GetParam()));
  }
};

TEST_P(PredictionLossTest, CrossEntropyIsTorchs) {
  const at::Tensor logits = random_logits(1, GetParam());
  const at::Tensor labels = random_labels();
  const auto torchs = expected(logits, [&](const at::Tensor& doubles) {
    return at::cross_entropy_loss(doubles, labels, {}, at::Reduction::Sum);
  });
  const at::Tensor loss = cross_entropy_and_gradient(logits, labels, weight);
  expect_equal(loss, logits, torchs);
}

TEST_P(PredictionLossTest, DivergenceIsTorchs) {
  const at::Tensor logits = random_logits(1, GetParam());
  const at::Tensor full = random_logits(2, GetParam());
  const auto torchs = expected(logits, [&](const at::Tensor& doubles) {
    return at::kl_div(at::log_softmax(doubles, -1), at::log_softmax(full.to(at::kDouble), -1),
                      at::Reduction::Sum, /*log_target=*/true);
  });
  const at::Tensor loss = divergence_and_gradient(logits, full, weight);
  expect_equal(loss, logits, torchs);
}

INSTANTIATE_TEST_SUITE_P(Types, PredictionLossTest,
                         testing::Values(at::kDouble, at::kFloat, at::kBFloat16),
                         [](const auto& type) { return std::string(c10::toString(type.param)); });

}  // namespace
}  // namespace fathom
