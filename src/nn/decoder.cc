#include "nn/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/roll.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <algorithm>
#include <limits>
#include <stdexcept>

#include "model/rotary.h"

namespace fathom {
namespace {

std::int64_t integer(std::size_t n) { return static_cast<std::int64_t>(n); }

at::Tensor columns_of(const at::Tensor& tensor, const ColumnRange& range) {
  return tensor.narrow(1, integer(range.first), integer(range.count));
}

at::Tensor activated(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::relu:
      return at::relu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
  }
  throw std::logic_error("unknown activation function");
}

}  // namespace

Linear::Linear(const LinearTensors& tensors, Parameters& parameters, at::ScalarType product_type)
    : weight_(part(tensors.weight, parameters)),
      columns_(tensors.columns),
      outputs_(outputs_first_shape(tensors.weight, tensors.columns).front()),
      product_type_(product_type) {
  if (tensors.bias) bias_ = part(*tensors.bias, parameters);
}

Linear::Part Linear::part(const TensorView& view, Parameters& parameters) {
  const at::Tensor& stored = parameters.stored(view);
  const TensorView& whole = *parameters.source().find(view.name);
  if (view.bytes.size() == whole.bytes.size()) return {stored, std::nullopt};
  const std::size_t row_bytes = whole.bytes.size() / whole.shape[0];
  const auto offset = static_cast<std::size_t>(view.bytes.data() - whole.bytes.data());
  return {stored, ColumnRange{offset / row_bytes, view.shape[0]}};
}

at::Tensor Linear::Part::tensor() const {
  return rows ? stored.narrow(0, integer(rows->first), integer(rows->count)) : stored;
}

// Views are taken and types changed anew each time: gradients then reach the stored tensor, however
// often an optimiser has changed it.
at::Tensor Linear::operator()(const at::Tensor& x) const {
  const at::Tensor input = x.to(product_type_);
  if (!change_) return product(input);
  const at::Tensor inner = at::linear(input, change_->a.to(product_type_));
  const at::Tensor outer = change_->b.tensor().to(product_type_);
  return at::addmm(product(input), inner, outer.t(), 1, change_->scale);
}

void Linear::adapt(const LoraTensors& factors, double scale, std::size_t first) {
  change_ = Change{factors.a, {factors.b, ColumnRange{first, outputs_}}, scale};
}

at::Tensor Linear::product(const at::Tensor& input) const {
  const at::Tensor weight = weight_.tensor().to(product_type_);
  const at::Tensor bias = bias_ ? bias_->tensor().to(product_type_) : at::Tensor();
  if (!columns_) return at::linear(input, weight, bias);
  const at::Tensor result = at::matmul(input, columns_of(weight, *columns_));
  return bias.defined() ? result + bias : result;
}

Norm::Norm(const NormTensors& tensors, const NormConfig& config, Parameters& parameters)
    : kind_(config.kind), epsilon_(config.epsilon), weight_offset_(config.weight_offset) {
  if (tensors.weight) weight_ = parameters.stored(*tensors.weight);
  if (tensors.bias) bias_ = parameters.stored(*tensors.bias);
}

at::Tensor Norm::operator()(const at::Tensor& x) const {
  const std::int64_t size = x.size(-1);
  at::Tensor weight = weight_.defined() ? weight_.to(x.scalar_type()) : weight_;
  if (weight.defined() && weight_offset_ != 0) weight = weight + weight_offset_;
  if (kind_ == NormKind::root_mean_square) return at::rms_norm(x, size, weight, epsilon_);
  return at::layer_norm(x, size, weight, bias_.defined() ? bias_.to(x.scalar_type()) : bias_,
                        epsilon_);
}

Decoder::Decoder(const ModelConfig& config, const ModelTensors& tensors, Parameters& parameters,
                 at::ScalarType product_type)
    : config_(config),
      product_type_(product_type),
      state_type_(product_type == at::kDouble ? at::kDouble : at::kFloat) {
  embedding_ = parameters.stored(tensors.embedding);
  if (tensors.positions) positions_ = parameters.stored(*tensors.positions);
  if (tensors.head) head_ = parameters.stored(*tensors.head);
  if (tensors.project_in) project_in_.emplace(*tensors.project_in, parameters, product_type);
  if (tensors.project_out) project_out_.emplace(*tensors.project_out, parameters, product_type);
  if (tensors.output_norm) output_norm_.emplace(*tensors.output_norm, config.norm, parameters);
  for (const RotaryConfig& rotary : config.rotaries) {
    const std::vector<float> frequencies = rotary_frequencies(rotary);
    at::Tensor tensor = at::empty({integer(frequencies.size())}, at::kFloat);
    std::copy(frequencies.begin(), frequencies.end(), tensor.data_ptr<float>());
    frequencies_.push_back(tensor.to(embedding_.device(), state_type_));
  }
  for (const LayerTensors& each : tensors.layers) layers_.push_back(layer(each, parameters));
}

Decoder::Layer Decoder::layer(const LayerTensors& tensors, Parameters& parameters) const {
  const auto linear = [&](const LinearTensors& map) {
    return Linear(map, parameters, product_type_);
  };
  const auto norm = [&](const NormTensors& weights) {
    return Norm(weights, config_.norm, parameters);
  };
  const auto norm_if = [&](const std::optional<NormTensors>& weights) {
    return weights ? std::optional(norm(*weights)) : std::nullopt;
  };
  return {.attention_norm = norm(tensors.attention_norm),
          .query = linear(tensors.query),
          .key = linear(tensors.key),
          .value = linear(tensors.value),
          .query_norm = norm_if(tensors.query_norm),
          .key_norm = norm_if(tensors.key_norm),
          .attention_output = linear(tensors.attention_output),
          .attention_output_norm = norm_if(tensors.attention_output_norm),
          .ffn_norm = norm(tensors.ffn_norm),
          .gate = tensors.gate ? std::optional(linear(*tensors.gate)) : std::nullopt,
          .up = linear(tensors.up),
          .down = linear(tensors.down),
          .ffn_output_norm = norm_if(tensors.ffn_output_norm)};
}

Decoder Decoder::adapted(const LoraParameters& lora) const {
  Decoder decoder = *this;
  const std::size_t query = config_.query_width();
  for (const LoraTensors& map : lora.maps()) {
    Layer& layer = decoder.layers_[map.layer.index()];
    const auto adapt = [&](Linear& linear, std::size_t first) {
      linear.adapt(map, lora.scale(), first);
    };
    switch (map.role) {
      case LinearRole::query:
        adapt(layer.query, 0);
        break;
      case LinearRole::key:
        adapt(layer.key, 0);
        break;
      case LinearRole::value:
        adapt(layer.value, 0);
        break;
      case LinearRole::query_key_value:
        adapt(layer.query, 0);
        adapt(layer.key, query);
        adapt(layer.value, query + config_.kv_width());
        break;
      case LinearRole::attention_output:
        adapt(layer.attention_output, 0);
        break;
      case LinearRole::gate:
        adapt(layer.gate.value(), 0);
        break;
      case LinearRole::up:
        adapt(layer.up, 0);
        break;
      case LinearRole::down:
        adapt(layer.down, 0);
        break;
    }
  }
  return decoder;
}

at::Tensor Decoder::embed(const at::Tensor& tokens, const at::Tensor& positions,
                          const PartedDropout* dropout) const {
  at::Tensor states = at::embedding(embedding_, tokens).to(state_type_);
  if (config_.embedding_scale != 1) states = states * config_.embedding_scale;
  if (project_in_) states = (*project_in_)(states).to(state_type_);
  if (positions_.defined()) {
    const at::Tensor rows = positions + integer(*config_.learned_positions);
    states = states + at::embedding(positions_, rows).to(state_type_);
  }
  if (dropout != nullptr) {
    states = (*dropout)(states, Dropout::Place::embedding, LayerIndex{0});
  }
  return states;
}

std::vector<RotaryAngles> Decoder::angles(const at::Tensor& positions) const {
  const auto of_both = [&](const at::Tensor& first, const at::Tensor& second) {
    const at::Tensor both = config_.pairing == RotaryPairing::halves
                                ? at::cat({first, second}, -1)
                                : at::stack({first, second}, -1).flatten(-2);
    return both.unsqueeze(1).to(product_type_);
  };
  std::vector<RotaryAngles> angles;
  for (std::size_t k = 0; k < frequencies_.size(); ++k) {
    const at::Tensor angle = positions.to(state_type_).unsqueeze(1) * frequencies_[k];
    const double factor = rotary_attention_factor(config_.rotaries[k]);
    const at::Tensor cosine = angle.cos() * factor;
    const at::Tensor sine = angle.sin() * factor;
    angles.push_back({of_both(cosine, cosine), of_both(-sine, sine)});
  }
  return angles;
}

at::Tensor Decoder::rotate(const at::Tensor& heads, const RotaryAngles& angles) const {
  const std::int64_t rotated = angles.cosine.size(-1);
  if (rotated < heads.size(-1)) {
    return at::cat({rotate(heads.narrow(-1, 0, rotated), angles),
                    heads.narrow(-1, rotated, heads.size(-1) - rotated)},
                   -1);
  }
  // Each number's partner in its place.
  const at::Tensor partners = config_.pairing == RotaryPairing::halves
                                  ? at::roll(heads, rotated / 2, -1)
                                  : heads.unflatten(-1, {rotated / 2, 2}).flip(-1).flatten(-2);
  return heads * angles.cosine + partners * angles.sine;
}

AttentionInputs Decoder::attention_inputs(LayerIndex layer, const at::Tensor& states,
                                          const std::vector<RotaryAngles>& angles) const {
  const Layer& weights = layers_[layer.index()];
  const at::Tensor normed =
      config_.norm.placement == NormPlacement::after ? states : weights.attention_norm(states);
  const auto heads = [&](const Linear& map, std::size_t count) {
    return map(normed).view({-1, integer(count), integer(config_.head_dim)});
  };
  AttentionInputs inputs{heads(weights.query, config_.heads), heads(weights.key, config_.kv_heads),
                         heads(weights.value, config_.kv_heads)};
  if (weights.query_norm) inputs.query = (*weights.query_norm)(inputs.query);
  if (weights.key_norm) inputs.key = (*weights.key_norm)(inputs.key);
  if (const auto rotary = config_.attention[layer.index()].rotary) {
    inputs.query = rotate(inputs.query, angles[*rotary]);
    inputs.key = rotate(inputs.key, angles[*rotary]);
  }
  return inputs;
}

at::Tensor Decoder::attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                           const at::Tensor& value, std::int64_t first) const {
  const LayerAttention& attention = config_.attention[layer.index()];
  const std::int64_t rows = query.size(1);
  const std::int64_t seen = key.size(2);
  const std::int64_t window = attention.window ? integer(*attention.window) : seen;
  at::Tensor visible;
  const bool causal = first == 0 && rows > 1 && window >= seen;
  if (!causal && (rows > 1 || window < seen)) {
    visible = mask(layer, first, rows, seen, query.options());
  }
  const at::Tensor attended = at::scaled_dot_product_attention(
      query.transpose(1, 2), key, value,
      visible.defined() ? std::optional<at::Tensor>(visible) : std::nullopt, 0.0, causal,
      attention.scale, config_.heads != config_.kv_heads);
  return attended.transpose(1, 2).reshape({-1, integer(config_.query_width())});
}

// Heads that share keys get copies of them: the fused attention of GPUs that takes a mask shares
// none.
at::Tensor Decoder::attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                           const at::Tensor& value, const at::Tensor& visible) const {
  const std::int64_t shared = integer(config_.heads / config_.kv_heads);
  const at::Tensor attended = at::scaled_dot_product_attention(
      query.transpose(1, 2), shared == 1 ? key : key.repeat_interleave(shared, 1),
      shared == 1 ? value : value.repeat_interleave(shared, 1), visible, 0.0, false,
      config_.attention[layer.index()].scale);
  return attended.transpose(1, 2).reshape({-1, integer(config_.query_width())});
}

// As it is written down: torch's fused attention of CPUs has no dropout, and torch's own draws
// depend on a generator that all share.
at::Tensor Decoder::attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                           const at::Tensor& value, std::int64_t first,
                           const PartedDropout& dropout) const {
  if (dropout.dropout.rates().attention <= 0) return attend(layer, query, key, value, first);
  const std::int64_t shared = integer(config_.heads / config_.kv_heads);
  const at::Tensor keys = key.repeat_interleave(shared, 1);
  const at::Tensor products = at::matmul(query.transpose(1, 2), keys.transpose(2, 3)) *
                              config_.attention[layer.index()].scale;
  const at::Tensor visible = mask(layer, first, query.size(1), key.size(2), query.options());
  const at::Tensor hidden =
      products.to(state_type_)
          .masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor weights = dropout(at::softmax(hidden, -1), Dropout::Place::attention, layer);
  return at::matmul(weights.to(value.scalar_type()), value.repeat_interleave(shared, 1))
      .transpose(1, 2)
      .reshape({-1, integer(config_.query_width())});
}

at::Tensor Decoder::mask(LayerIndex layer, std::int64_t first, std::int64_t rows, std::int64_t seen,
                         const at::TensorOptions& options) const {
  const auto& attention = config_.attention[layer.index()];
  const std::int64_t window = attention.window ? integer(*attention.window) : seen;
  const at::Tensor row = at::arange(first, first + rows, options.dtype(at::kLong)).unsqueeze(1);
  const at::Tensor column = at::arange(seen, options.dtype(at::kLong)).unsqueeze(0);
  return column.le(row).logical_and(column.gt(row - window));
}

at::Tensor Decoder::add_block(const at::Tensor& states, const at::Tensor& output, const Norm& norm,
                              const std::optional<Norm>& output_norm) const {
  const at::Tensor delta = output.to(state_type_);
  const at::Tensor sum = states + (output_norm ? (*output_norm)(delta) : delta);
  return config_.norm.placement == NormPlacement::after ? norm(sum) : sum;
}

at::Tensor Decoder::finish(LayerIndex layer, const at::Tensor& states, const at::Tensor& attended,
                           const PartedDropout* dropout) const {
  const auto dropped = [&](const at::Tensor& x, Dropout::Place place) {
    return dropout == nullptr ? x : (*dropout)(x, place, layer);
  };
  const Layer& weights = layers_[layer.index()];
  const at::Tensor middle = add_block(
      states, dropped(weights.attention_output(attended), Dropout::Place::attention_output),
      weights.attention_norm, weights.attention_output_norm);
  const at::Tensor normed =
      config_.norm.placement == NormPlacement::after ? middle : weights.ffn_norm(middle);
  const at::Tensor up = weights.up(normed);
  const at::Tensor inner = weights.gate
                               ? activated(config_.activation, (*weights.gate)(normed)) * up
                               : activated(config_.activation, up);
  return add_block(middle, dropped(weights.down(inner), Dropout::Place::ffn_output),
                   weights.ffn_norm, weights.ffn_output_norm);
}

at::Tensor Decoder::final_norm(const at::Tensor& states) const {
  return output_norm_ ? (*output_norm_)(states) : states;
}

at::Tensor Decoder::head(const at::Tensor& states) const {
  at::Tensor read = final_norm(states).to(product_type_);
  if (project_out_) read = (*project_out_)(read);
  const at::Tensor& weight = head_.defined() ? head_ : embedding_;
  return at::linear(read, weight.to(product_type_));
}

}  // namespace fathom
