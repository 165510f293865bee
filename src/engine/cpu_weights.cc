#include "engine/cpu_weights.h"

#include <cstdint>

#include "base/mapped_file.h"
#include "formats/dequantize.h"

namespace fathom {
namespace {

// Where a stored row of a query or key matrix goes, so that rotations pair the halves of a head.
std::vector<std::uint32_t> halves_order(std::size_t heads, std::size_t head_dim) {
  std::vector<std::uint32_t> order;
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t d = 0; d < head_dim; ++d) {
      const std::size_t half = head_dim / 2;
      const std::size_t stored = d < half ? 2 * d : 2 * (d - half) + 1;
      order.push_back(static_cast<std::uint32_t>(head * head_dim + stored));
    }
  }
  return order;
}

class Packer {
 public:
  Packer(Precision precision, Arena& arena, ThreadTeam& team)
      : precision_(precision), arena_(arena), team_(team) {}

  PackedMatrix matrix(const TensorView& tensor, std::span<const std::uint32_t> order = {}) const {
    const PackedForm form =
        precision_ == Precision::exact ? PackedForm::float32 : native_form(tensor.used_type());
    PackedMatrix packed(tensor, form, order, arena_, team_);
    // The file's pages have been read for the last time; keeping them would double the memory.
    release_resident(tensor.bytes);
    return packed;
  }

  static std::vector<float> vector(const TensorView& tensor,
                                   std::span<const std::uint32_t> order = {}) {
    std::vector<float> values(tensor.elements());
    dequantize(tensor.type, tensor.bytes, values);
    if (order.empty()) return values;
    std::vector<float> ordered(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) ordered[i] = values[order[i]];
    return ordered;
  }

  PackedLinear linear(const LinearTensors& tensors,
                      std::span<const std::uint32_t> order = {}) const {
    return {matrix(tensors.weight, order),
            tensors.bias ? vector(*tensors.bias, order) : std::vector<float>{}};
  }

 private:
  Precision precision_;
  Arena& arena_;
  ThreadTeam& team_;
};

std::size_t bytes_of(const PackedLinear& linear) {
  return linear.weight.bytes() + linear.bias.size() * sizeof(float);
}

}  // namespace

std::size_t PackedLayer::bytes() const {
  std::size_t total = (attention_norm.size() + ffn_norm.size()) * sizeof(float);
  for (const PackedLinear* const linear :
       {&query, &key, &value, &attention_output, &gate, &up, &down}) {
    total += bytes_of(*linear);
  }
  return total;
}

CpuWeights::CpuWeights(const ModelTensors& tensors, const ModelConfig& config, Precision precision,
                       ThreadTeam& team)
    : output_norm_(Packer::vector(tensors.output_norm)),
      head_(Packer(precision, arena_, team)
                .matrix(tensors.head ? *tensors.head : tensors.embedding)) {
  const Packer packer(precision, arena_, team);
  std::vector<std::uint32_t> query_order;
  std::vector<std::uint32_t> key_order;
  if (config.pairing == RotaryPairing::interleaved) {
    query_order = halves_order(config.heads, config.head_dim);
    key_order = halves_order(config.kv_heads, config.head_dim);
  }
  layers_.reserve(tensors.layers.size());
  for (const LayerTensors& layer : tensors.layers) {
    layers_.push_back({
        .attention_norm = Packer::vector(layer.attention_norm),
        .query = packer.linear(layer.query, query_order),
        .key = packer.linear(layer.key, key_order),
        .value = packer.linear(layer.value),
        .attention_output = packer.linear(layer.attention_output),
        .ffn_norm = Packer::vector(layer.ffn_norm),
        .gate = packer.linear(layer.gate),
        .up = packer.linear(layer.up),
        .down = packer.linear(layer.down),
    });
  }
}

TokenBytes CpuWeights::token_bytes() const {
  TokenBytes bytes;
  bytes.head = head_.bytes() + output_norm_.size() * sizeof(float);
  for (const PackedLayer& layer : layers_) bytes.layers.push_back(layer.bytes());
  return bytes;
}

}  // namespace fathom
