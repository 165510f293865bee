#include "nn/dropout.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/empty_like.h>

#include "base/random.h"

namespace fathom {

at::Tensor Dropout::operator()(const at::Tensor& x, Place place, LayerIndex layer,
                               std::uint32_t part) const {
  double rate = rates_.residual;
  if (place == Place::embedding) rate = rates_.embedding;
  if (place == Place::attention) rate = rates_.attention;
  if (rate <= 0) return x;
  RandomStream random(
      {.seed = seed_,
       .purpose = RandomPurpose::dropout,
       .sequence = pass_,
       .position = part,
       .layer = static_cast<std::uint32_t>(layer.value) * 4 + static_cast<std::uint32_t>(place)});
  at::Generator generator = at::globalContext().defaultGenerator(x.device()).clone();
  generator.set_current_seed(random.next());
  const at::Tensor kept = at::empty_like(x.detach()).bernoulli_(1 - rate, generator);
  return x * (kept / (1 - rate));
}

}  // namespace fathom
