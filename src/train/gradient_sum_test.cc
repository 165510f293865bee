#include "train/gradient_sum.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/tensor_exchange.h"

namespace fathom {
namespace {

// The first of two ranks. `other` changes what it sums into the sum.
class FirstOfTwo final : public Ranks, public TensorExchange {
 public:
  using Other = std::function<void(at::Tensor& tensor, std::size_t number)>;
  explicit FirstOfTwo(Other other) : other_(std::move(other)) {}

  [[nodiscard]] std::size_t size() const override { return 2; }
  [[nodiscard]] std::size_t rank() const override { return 0; }
  [[nodiscard]] std::size_t local_rank() const override { return 0; }
  void begin_sum(const at::Tensor& tensor) override { begun_.push_back(tensor); }
  void finish_sums() override {
    for (; finished_ < begun_.size(); ++finished_) other_(begun_[finished_], finished_);
  }
  void sum(std::span<double> /*values*/) override {}
  [[nodiscard]] TensorExchange& tensors() override { return *this; }
  void broadcast(const at::Tensor& /*tensor*/) override {}
  [[nodiscard]] std::string broadcast(const std::string& text) override { return text; }
  [[noreturn]] void abort(int /*exit_code*/) override { throw std::logic_error("aborted"); }

  [[nodiscard]] const std::vector<at::Tensor>& begun() const { return begun_; }

 private:
  Other other_;
  std::vector<at::Tensor> begun_;
  std::size_t finished_ = 0;
};

// Three layers of an element-wise product and a sum, and an embedding before them.
struct Chain {
  std::vector<std::vector<at::Tensor>> layers;
  std::vector<at::Tensor> others;

  Chain() {
    for (const double value : {2.0, 3.0, 5.0}) {
      layers.push_back({at::full({2, 2}, value).set_requires_grad(true),
                        at::zeros({2, 2}).set_requires_grad(true)});
    }
    others = {at::ones({2, 2}).set_requires_grad(true)};
  }
  [[nodiscard]] at::Tensor loss() const {
    at::Tensor x = others[0];
    for (const auto& layer : layers) x = x * layer[0] + layer[1];
    return x.sum();
  }
  [[nodiscard]] std::vector<double> gradients() const {
    std::vector<double> gradients;
    for (const auto& layer : layers) {
      for (const at::Tensor& tensor : layer) {
        gradients.push_back(tensor.grad().defined() ? tensor.grad().max().item<double>() : -1);
      }
    }
    gradients.push_back(others[0].grad().defined() ? others[0].grad().max().item<double>() : -1);
    return gradients;
  }
};

void doubled(at::Tensor& tensor, std::size_t /*number*/) { tensor.mul_(2); }

TEST(GradientSum, IsOverRanksAndMicroBatches) {
  const Chain chain;
  chain.loss().backward();
  const std::vector<double> alone = chain.gradients();
  EXPECT_EQ(alone, (std::vector<double>{15, 15, 10, 5, 6, 1, 30}));
  const Chain shared;
  FirstOfTwo ranks(doubled);
  GradientSum sum(ranks, shared.layers, shared.others);
  shared.loss().backward();  // a micro-batch before the last
  EXPECT_EQ(shared.gradients(), alone);
  EXPECT_TRUE(ranks.begun().empty());
  sum.begin({true, true, true});
  shared.loss().backward();
  sum.finish();
  EXPECT_EQ(shared.gradients(), (std::vector<double>{60, 60, 40, 20, 24, 4, 120}));
}

// The last layer's sum begins before the first layer's gradients are there.
TEST(GradientSum, BeginsWhileTheBackwardPassComputes) {
  const Chain chain;
  FirstOfTwo ranks(doubled);
  GradientSum sum(ranks, chain.layers, chain.others);
  std::vector<std::size_t> begun;
  for (const auto& layer : chain.layers) {
    layer[0].register_hook(
        [&](const at::Tensor& /*gradient*/) { begun.push_back(ranks.begun().size()); });
  }
  sum.begin({true, true, true});
  chain.loss().backward();
  sum.finish();
  EXPECT_EQ(begun, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(ranks.begun().size(), 4U);
}

TEST(GradientSum, LeavesWhatHasNoGradientOnAnyRank) {
  const Chain chain;
  chain.layers[1][0].set_requires_grad(false);
  FirstOfTwo ranks(doubled);
  GradientSum sum(ranks, chain.layers, chain.others);
  sum.begin({true, true, false});
  ((chain.others[0] * chain.layers[0][0] + chain.layers[0][1]) + chain.layers[1][1])
      .sum()
      .backward();
  sum.finish();
  EXPECT_EQ(chain.gradients(), (std::vector<double>{2, 2, -1, 2, -1, -1, 4}));
  EXPECT_EQ(ranks.begun().size(), 3U);
}

// This rank has no rows in a step, or none that need a layer; the other one has.
TEST(GradientSum, BringsWhatOnlyOtherRanksHave) {
  const Chain chain;
  FirstOfTwo ranks([](at::Tensor& tensor, std::size_t number) {
    // Of the layer that is summed first, and of the embedding.
    if (number == 0 || number == 3) tensor.add_(1);
  });
  GradientSum sum(ranks, chain.layers, chain.others);
  sum.begin({true, true, true});
  sum.finish();
  EXPECT_EQ(chain.gradients(), (std::vector<double>{-1, -1, -1, -1, 1, 1, 1}));
}

TEST(GradientSum, RefusesGradientsThatComeTwice) {
  const Chain chain;
  FirstOfTwo ranks(doubled);
  GradientSum sum(ranks, chain.layers, chain.others);
  sum.begin({true, true, true});
  chain.loss().backward();
  EXPECT_THROW(chain.loss().backward(), std::exception);
}

TEST(GradientSum, OfOneRankDoesNothing) {
  const Chain chain;
  const std::unique_ptr<Ranks> ranks = one_rank();
  GradientSum sum(*ranks, chain.layers, chain.others);
  sum.begin({true, true, true});
  chain.loss().backward();
  sum.finish();
  EXPECT_EQ(chain.gradients(), (std::vector<double>{15, 15, 10, 5, 6, 1, 30}));
}

}  // namespace
}  // namespace fathom
