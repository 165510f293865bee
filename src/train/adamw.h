#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace fathom {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< of matrices; vectors (biases and norms) do not decay
  double clip = 1;          ///< the greatest norm of the gradient of all parameters; 0: any
};

/// AdamW [Loshchilov and Hutter 2019], by torch's fused kernel.
class AdamW {
 public:
  /// `parameters` by name. They are changed in place.
  AdamW(const std::map<std::string, at::Tensor>& parameters, const AdamWOptions& options);

  /// Clips the parameters' gradients, takes a step along them and forgets them; parameters without
  /// a gradient stay as they are. Gives the gradient's norm before clipping.
  double step(double learning_rate);

  /// Running means of the gradients and of their squares, and how many steps they have had, by
  /// names of their own: what must be kept to go on.
  [[nodiscard]] std::map<std::string, at::Tensor> state() const;

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter, mean, square, steps;
  };
  std::vector<Slot> slots_;
  AdamWOptions options_;
};

}  // namespace fathom
