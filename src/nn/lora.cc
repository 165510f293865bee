#include "nn/lora.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "base/random.h"

namespace fathom {
namespace {

std::int64_t integer(std::size_t n) { return static_cast<std::int64_t>(n); }

// Kaiming's uniform distribution with a = sqrt(5), as torch begins linear layers and PEFT begins A.
at::Tensor beginning(std::size_t rank, std::size_t inputs, const RandomKey& key,
                     const at::TensorOptions& options) {
  RandomStream random(key);
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  at::Tensor tensor = at::empty({integer(rank), integer(inputs)}, at::kFloat);
  auto* const values = tensor.data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] = static_cast<float>((2 * random.uniform() - 1) * bound);
  }
  return tensor.to(options);
}

}  // namespace

LoraParameters::LoraParameters(const ModelConfig& config, std::span<const LayerIndex> layers,
                               std::size_t rank, double alpha, std::uint64_t seed,
                               at::TensorOptions options)
    : scale_(alpha / static_cast<double>(rank)) {
  for (const LayerIndex layer : layers) {
    for (const LinearRole role : linear_roles(config)) {
      const LinearShape shape = linear_shape(config, role);
      const RandomKey key{.seed = seed,
                          .purpose = RandomPurpose::adapter,
                          .sequence = static_cast<std::uint64_t>(role),
                          .layer = static_cast<std::uint32_t>(layer.value)};
      maps_.push_back({.layer = layer,
                       .role = role,
                       .a = beginning(rank, shape.inputs, key, options),
                       .b = at::zeros({integer(shape.outputs), integer(rank)}, options)});
    }
  }
}

std::map<std::string, at::Tensor> LoraParameters::by_name(const ModelConfig& config) const {
  std::map<std::string, at::Tensor> tensors;
  for (const LoraTensors& map : maps_) {
    const std::string path = module_path(config, map.role, map.layer);
    tensors["base_model.model." + path + ".lora_A.weight"] = map.a;
    tensors["base_model.model." + path + ".lora_B.weight"] = map.b;
  }
  return tensors;
}

}  // namespace fathom
