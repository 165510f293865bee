#include "engine/cpu_weights.h"

#include <cstdint>
#include <cstring>

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

// Columns of an [inputs][outputs] matrix as the rows of one that has the outputs first.
std::vector<std::byte> outputs_first(const TensorView& tensor, const ColumnRange& columns) {
  const std::size_t inputs = tensor.shape[0];
  const std::size_t size = info(tensor.type).block_bytes;
  std::vector<std::byte> turned(columns.count * inputs * size);
  for (std::size_t input = 0; input < inputs; ++input) {
    const std::byte* const row =
        tensor.bytes.data() + (input * tensor.shape[1] + columns.first) * size;
    for (std::size_t output = 0; output < columns.count; ++output) {
      std::memcpy(&turned[(output * inputs + input) * size], row + output * size, size);
    }
  }
  return turned;
}

class Packer {
 public:
  Packer(const NormConfig& norms, Precision precision, Arena& arena, ThreadTeam& team)
      : norms_(norms), precision_(precision), arena_(arena), team_(team) {}

  PackedMatrix mapped_matrix(const TensorView& tensor,
                             std::span<const std::uint32_t> order = {}) const {
    PackedMatrix packed = matrix(tensor, order);
    // The file's pages have been read for the last time; keeping them would double the memory.
    release_resident(tensor.bytes);
    return packed;
  }

  PackedMatrix matrix(const TensorView& tensor, std::span<const std::uint32_t> order = {}) const {
    const PackedForm form =
        precision_ == Precision::exact ? PackedForm::float32 : native_form(tensor.used_type());
    return {tensor, form, order, arena_, team_};
  }

  // Norms without weights are those whose weights are 1 and biases 0.
  PackedNorm norm(const NormTensors& tensors, std::size_t size) const {
    PackedNorm packed{std::vector<float>(size, 1.0F), {}};
    if (tensors.weight) packed.weight = vector(*tensors.weight);
    for (float& weight : packed.weight) weight += norms_.weight_offset;
    if (norms_.kind == NormKind::layer) {
      packed.bias = tensors.bias ? vector(*tensors.bias) : std::vector<float>(size, 0.0F);
    }
    return packed;
  }

  std::optional<PackedNorm> norm(const std::optional<NormTensors>& tensors,
                                 std::size_t size) const {
    if (!tensors) return std::nullopt;
    return norm(*tensors, size);
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
    return {weight(tensors, order),
            tensors.bias ? vector(*tensors.bias, order) : std::vector<float>{}};
  }

  std::optional<PackedLinear> linear(const std::optional<LinearTensors>& tensors) const {
    if (!tensors) return std::nullopt;
    return linear(*tensors);
  }

 private:
  // Weights with the inputs first are turned in memory, one map at a time.
  PackedMatrix weight(const LinearTensors& tensors, std::span<const std::uint32_t> order) const {
    if (!tensors.columns) return mapped_matrix(tensors.weight, order);
    const std::vector<std::byte> turned = outputs_first(tensors.weight, *tensors.columns);
    TensorView view = tensors.weight;
    view.shape = {tensors.columns->count, tensors.weight.shape[0]};
    view.bytes = turned;
    PackedMatrix packed = matrix(view, order);
    release_resident(tensors.weight.bytes);
    return packed;
  }

  const NormConfig& norms_;
  Precision precision_;
  Arena& arena_;
  ThreadTeam& team_;
};

std::size_t bytes_of(const PackedLinear& linear) {
  return linear.weight.bytes() + linear.bias.size() * sizeof(float);
}

}  // namespace

std::size_t PackedLayer::bytes() const {
  std::size_t total = attention_norm.bytes() + ffn_norm.bytes();
  for (const PackedLinear* const linear : {&query, &key, &value, &attention_output, &up, &down}) {
    total += bytes_of(*linear);
  }
  if (gate) total += bytes_of(*gate);
  for (const auto* const norm :
       {&query_norm, &key_norm, &attention_output_norm, &ffn_output_norm}) {
    if (*norm) total += (*norm)->bytes();
  }
  return total;
}

CpuWeights::CpuWeights(const ModelTensors& tensors, const ModelConfig& config, Precision precision,
                       ThreadTeam& team)
    : head_(Packer(config.norm, precision, arena_, team)
                .mapped_matrix(tensors.head ? *tensors.head : tensors.embedding)) {
  const Packer packer(config.norm, precision, arena_, team);
  output_norm_ = packer.norm(tensors.output_norm, config.width);
  project_in_ = packer.linear(tensors.project_in);
  project_out_ = packer.linear(tensors.project_out);
  std::vector<std::uint32_t> query_order;
  std::vector<std::uint32_t> key_order;
  if (config.pairing == RotaryPairing::interleaved) {
    query_order = halves_order(config.heads, config.head_dim);
    key_order = halves_order(config.kv_heads, config.head_dim);
  }
  layers_.reserve(tensors.layers.size());
  for (const LayerTensors& layer : tensors.layers) {
    layers_.push_back({
        .attention_norm = packer.norm(layer.attention_norm, config.width),
        .query = packer.linear(layer.query, query_order),
        .key = packer.linear(layer.key, key_order),
        .value = packer.linear(layer.value),
        .query_norm = packer.norm(layer.query_norm, config.head_dim),
        .key_norm = packer.norm(layer.key_norm, config.head_dim),
        .attention_output = packer.linear(layer.attention_output),
        .attention_output_norm = packer.norm(layer.attention_output_norm, config.width),
        .ffn_norm = packer.norm(layer.ffn_norm, config.width),
        .gate = packer.linear(layer.gate),
        .up = packer.linear(layer.up),
        .down = packer.linear(layer.down),
        .ffn_output_norm = packer.norm(layer.ffn_output_norm, config.width),
    });
  }
}

TokenBytes CpuWeights::token_bytes() const {
  TokenBytes bytes;
  bytes.head = head_.bytes();
  if (output_norm_) bytes.head += output_norm_->bytes();
  if (project_out_) bytes.head += bytes_of(*project_out_);
  for (const PackedLayer& layer : layers_) bytes.layers.push_back(layer.bytes());
  return bytes;
}

}  // namespace fathom
