#pragma once

#include <ATen/core/Tensor.h>
#include <memory>
#include <span>
#include <vector>

#include "train/ranks.h"

namespace fathom {

/// Sums gradients over ranks while the backward pass still computes those of earlier layers. With
/// one rank it does nothing.
class GradientSum {
 public:
  /// `layers` holds each layer's tensors, whose gradients one call of backward() completes, and
  /// `others` those whose gradients are complete at the end only. A tensor may be named twice in a
  /// layer. All are of one type on one device. `ranks` must live as long as this.
  GradientSum(Ranks& ranks, std::span<const std::vector<at::Tensor>> layers,
              std::span<const at::Tensor> others);
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  /// The backward pass of a step's last micro-batch follows. `taking` says for each layer whether
  /// it may get gradients, on all ranks alike. Their sums begin as soon as those of the layers
  /// above have begun.
  void begin(const std::vector<bool>& taking);
  /// That pass is over. Gradients are then the sums over ranks; a tensor that has none on any rank
  /// still has none.
  void finish();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace fathom
