#include "train/gradient_sum.h"

#include <ATen/ops/empty.h>
#include <algorithm>
#include <c10/core/GradMode.h>
#include <stdexcept>
#include <torch/csrc/autograd/variable.h>
#include <utility>

#include "train/tensor_exchange.h"

namespace fathom {
namespace {

// Gradients that are summed together, side by side in one tensor, which is kept from step to step.
// Behind them stands, for each, whether there is one.
class Bucket {
 public:
  explicit Bucket(std::span<const at::Tensor> tensors) {
    std::int64_t numbers = 0;
    for (const at::Tensor& tensor : tensors) {
      const bool twice = std::ranges::any_of(
          slots_, [&](const Slot& slot) { return slot.tensor.is_same(tensor); });
      if (twice) continue;
      slots_.push_back({.tensor = tensor, .begin = numbers, .there = false});
      numbers += tensor.numel();
    }
    if (slots_.empty()) return;
    sum_ = at::empty({numbers + count()}, slots_.front().tensor.options().requires_grad(false));
    there_ = sum_.narrow(0, numbers, count());
  }

  [[nodiscard]] bool empty() const { return slots_.empty(); }
  [[nodiscard]] std::size_t size() const { return slots_.size(); }
  [[nodiscard]] const at::Tensor& tensor(std::size_t slot) const { return slots_[slot].tensor; }
  [[nodiscard]] const at::Tensor& sum() const { return sum_; }

  void clear() {
    taken_ = 0;
    for (Slot& slot : slots_) slot.there = false;
  }
  // Moves a tensor's gradient to its place. Whether that of every tensor has come.
  bool take(std::size_t index) {
    Slot& slot = slots_[index];
    if (slot.there) throw std::logic_error("a gradient came twice in one pass");
    slot.there = true;
    const at::Tensor place = place_of(slot);
    place.copy_(slot.tensor.grad());
    slot.tensor.mutable_grad() = place;
    return ++taken_ == slots_.size();
  }
  // Before the sum: the gradients that have not been taken.
  void complete() {
    const at::Tensor there = at::empty({count()}, at::kFloat);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (!slots_[i].there && slots_[i].tensor.grad().defined()) take(i);
      if (!slots_[i].there) place_of(slots_[i]).zero_();
      there.data_ptr<float>()[i] = slots_[i].there ? 1.0F : 0.0F;
    }
    there_.copy_(there);
  }
  // After it: other ranks may have gradients of what this one has none of.
  void give() {
    const bool all = taken_ == slots_.size();
    if (all) return;
    const at::Tensor there = there_.to(at::kCPU, at::kFloat);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].there || there.data_ptr<float>()[i] == 0) continue;
      slots_[i].tensor.mutable_grad() = place_of(slots_[i]);
    }
  }

 private:
  struct Slot {
    at::Tensor tensor;
    std::int64_t begin;
    bool there;
  };
  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(slots_.size()); }
  [[nodiscard]] at::Tensor place_of(const Slot& slot) const {
    return sum_.narrow(0, slot.begin, slot.tensor.numel()).view(slot.tensor.sizes());
  }

  std::vector<Slot> slots_;
  std::size_t taken_ = 0;
  at::Tensor sum_, there_;
};

// What autograd calls whenever it has added to a tensor's gradient.
class Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Hook(std::function<void()> call) : call_(std::move(call)) {}
  void operator()(const at::Tensor& /*tensor*/) override { call_(); }

 private:
  std::function<void()> call_;
};

}  // namespace

// Ranks must begin the same sums in the same order, whatever order gradients come in, or whether
// they come at all: the layers' from the last to the first, then the others'.
class GradientSum::Implementation {
 public:
  Implementation(TensorExchange& exchange, std::span<const std::vector<at::Tensor>> layers,
                 std::span<const at::Tensor> others)
      : exchange_(exchange), others_(others) {
    for (const std::vector<at::Tensor>& layer : layers) layers_.emplace_back(layer);
    state_.resize(layers_.size());
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      for (std::size_t slot = 0; slot < layers_[layer].size(); ++slot) {
        torch::autograd::impl::set_post_acc_grad_hooks(
            layers_[layer].tensor(slot),
            std::make_unique<Hook>([this, layer, slot] { arrive(layer, slot); }));
      }
    }
  }
  ~Implementation() {
    for (const Bucket& layer : layers_) {
      for (std::size_t slot = 0; slot < layer.size(); ++slot) {
        torch::autograd::impl::set_post_acc_grad_hooks(layer.tensor(slot), nullptr);
      }
    }
  }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  void begin(const std::vector<bool>& taking) {
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      layers_[layer].clear();
      state_[layer] = taking.at(layer) && !layers_[layer].empty() ? State::coming : State::none;
    }
    others_.clear();
    next_ = layers_.size();
    active_ = true;
  }

  void finish() {
    const c10::NoGradGuard guard;
    active_ = false;
    for (State& state : state_) {
      if (state == State::coming) state = State::complete;
    }
    begin_sums();
    if (!others_.empty()) begin_sum(others_);
    exchange_.finish_sums();
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      if (state_[layer] == State::begun) layers_[layer].give();
    }
    others_.give();
  }

 private:
  enum class State { none, coming, complete, begun };

  void arrive(std::size_t layer, std::size_t slot) {
    if (!active_) return;  // there are more micro-batches to come
    const c10::NoGradGuard guard;
    if (state_[layer] != State::coming) {
      throw std::logic_error("a gradient came of a layer that has all, or takes none");
    }
    if (!layers_[layer].take(slot)) return;
    state_[layer] = State::complete;
    begin_sums();
  }

  // Those whose turn it is.
  void begin_sums() {
    for (; next_ > 0; --next_) {
      const std::size_t layer = next_ - 1;
      if (state_[layer] == State::coming) return;
      if (state_[layer] == State::none) continue;
      begin_sum(layers_[layer]);
      state_[layer] = State::begun;
    }
  }
  void begin_sum(Bucket& bucket) {
    bucket.complete();
    exchange_.begin_sum(bucket.sum());
  }

  TensorExchange& exchange_;
  std::vector<Bucket> layers_;
  Bucket others_;
  std::vector<State> state_;  // of the layers
  std::size_t next_ = 0;      // the layer whose turn it is to be summed, plus 1
  bool active_ = false;       // between begin() and finish()
};

GradientSum::GradientSum(Ranks& ranks, std::span<const std::vector<at::Tensor>> layers,
                         std::span<const at::Tensor> others) {
  if (ranks.size() == 1) return;
  implementation_ = std::make_unique<Implementation>(ranks.tensors(), layers, others);
}

GradientSum::~GradientSum() = default;

void GradientSum::begin(const std::vector<bool>& taking) {
  if (implementation_) implementation_->begin(taking);
}

void GradientSum::finish() {
  if (implementation_) implementation_->finish();
}

}  // namespace fathom
