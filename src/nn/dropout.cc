#include "nn/dropout.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/empty_like.h>
#include <stdexcept>

#include "base/random.h"

namespace fathom {

at::Tensor Dropout::operator()(const at::Tensor& x, Place place, LayerIndex layer,
                               std::span<const Part> parts) const {
  double rate = rates_.residual;
  if (place == Place::embedding) rate = rates_.embedding;
  if (place == Place::attention) rate = rates_.attention;
  if (rate <= 0) return x;
  const at::Tensor kept = at::empty_like(x.detach());
  at::Generator generator = at::globalContext().defaultGenerator(x.device()).clone();
  std::int64_t begin = 0;
  for (const Part& part : parts) {
    RandomStream random(
        {.seed = seed_,
         .purpose = RandomPurpose::dropout,
         .sequence = part.row,
         .position = static_cast<std::uint32_t>(step_),
         .layer = static_cast<std::uint32_t>(layer.value) * 4 + static_cast<std::uint32_t>(place)});
    generator.set_current_seed(random.next());
    kept.narrow(0, begin, part.count).bernoulli_(1 - rate, generator);
    begin += part.count;
  }
  if (begin != x.size(0)) throw std::logic_error("parts of other rows than the tensor's");
  return x * (kept / (1 - rate));
}

}  // namespace fathom
