#include "model/gguf_names.h"

#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace fathom {

GgufFamily gguf_family(ModelFamily family) {
  switch (family) {
    case ModelFamily::llama:
    case ModelFamily::mistral:
      return {"llama", RotaryPairing::interleaved};
    case ModelFamily::qwen2:
      return {"qwen2", RotaryPairing::halves};
    case ModelFamily::qwen3:
      return {"qwen3", RotaryPairing::halves};
    case ModelFamily::smollm3:
      return {"smollm3", RotaryPairing::interleaved};
    case ModelFamily::gemma3:
      return {"gemma3", RotaryPairing::halves};
    case ModelFamily::opt:  // no rotation
      return {"opt", RotaryPairing::halves};
    case ModelFamily::gpt2:
      return {"gpt2", RotaryPairing::halves};
  }
  throw std::logic_error("a family without an architecture");
}

std::vector<std::uint32_t> pairing_order(RotaryPairing from, RotaryPairing to, std::size_t heads,
                                         std::size_t head_dim) {
  std::vector<std::uint32_t> order;
  if (from == to) return order;
  const std::size_t half = head_dim / 2;
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t d = 0; d < head_dim; ++d) {
      const std::size_t stored =
          to == RotaryPairing::halves ? d % half * 2 + d / half : d % 2 * half + d / 2;
      order.push_back(static_cast<std::uint32_t>(head * head_dim + stored));
    }
  }
  return order;
}

void for_each_weight(
    ModelTensors& tensors,
    const std::function<void(const GgufWeight& weight, TensorView& tensor)>& visit) {
  constexpr const TensorNames& names = gguf_tensor_names;
  using Kind = GgufWeight::Kind;
  const auto tensor = [&](std::string name, std::optional<TensorView>& view,
                          Kind kind = Kind::other) {
    if (view) visit({std::move(name), *view, kind, std::nullopt}, *view);
  };
  const auto matrix = [&](std::string_view stem, TensorView& view) {
    visit({fmt::format("{}.weight", stem), view, Kind::other, std::nullopt}, view);
  };
  const auto linear = [&](const std::string& stem, LinearTensors& map, Kind kind = Kind::other) {
    visit({stem + ".weight", map.weight, kind, map.columns}, map.weight);
    tensor(stem + ".bias", map.bias, kind);
  };
  const auto norm = [&](const std::string& stem, NormTensors& vectors) {
    tensor(stem + ".weight", vectors.weight, Kind::norm);
    tensor(stem + ".bias", vectors.bias);
  };
  matrix(names.embedding, tensors.embedding);
  tensor(fmt::format("{}.weight", names.positions), tensors.positions);
  if (tensors.project_in) linear(std::string(names.project_in), *tensors.project_in);
  for (std::size_t l = 0; l < tensors.layers.size(); ++l) {
    LayerTensors& layer = tensors.layers[l];
    const auto stem = [&](std::string_view pattern) {
      return fmt::format(fmt::runtime(pattern), l);
    };
    norm(stem(names.attention_norm), layer.attention_norm);
    linear(stem(names.query), layer.query, Kind::query);
    linear(stem(names.key), layer.key, Kind::key);
    linear(stem(names.value), layer.value, Kind::value);
    if (layer.query_norm) norm(stem(names.query_norm), *layer.query_norm);
    if (layer.key_norm) norm(stem(names.key_norm), *layer.key_norm);
    linear(stem(names.attention_output), layer.attention_output);
    if (layer.attention_output_norm) {
      norm(stem(names.attention_output_norm), *layer.attention_output_norm);
    }
    norm(stem(names.ffn_norm), layer.ffn_norm);
    if (layer.gate) linear(stem(names.gate), *layer.gate);
    linear(stem(names.up), layer.up);
    linear(stem(names.down), layer.down);
    if (layer.ffn_output_norm) norm(stem(names.ffn_output_norm), *layer.ffn_output_norm);
  }
  if (tensors.output_norm) norm(std::string(names.output_norm), *tensors.output_norm);
  if (tensors.project_out) linear(std::string(names.project_out), *tensors.project_out);
  if (tensors.head) matrix(names.head, *tensors.head);
}

namespace {

bool has_fused_attention(const ModelTensors& tensors) {
  if (tensors.layers.empty()) return false;
  const LinearTensors& query = tensors.layers.front().query;
  return query.columns && query.columns->count < query.weight.shape[1];
}

/// Makes the weight or bias of the queries that of all three, which lie in one tensor.
void fuse(GgufWeight& query, std::size_t outputs) {
  const std::string_view of_query = "attn_q.";
  query.name.replace(query.name.find(of_query), of_query.size(), "attn_qkv.");
  if (query.columns) {
    query.columns->count = outputs;
    return;
  }
  TensorView& bias = query.tensor;
  const std::size_t element = bias.bytes.size() / bias.shape.front();
  bias.shape = {outputs};
  bias.bytes = std::span(bias.bytes.data(), outputs * element);
}

}  // namespace

std::vector<GgufWeight> gguf_weights(const ModelTensors& tensors) {
  using Kind = GgufWeight::Kind;
  const bool fused = has_fused_attention(tensors);
  std::vector<GgufWeight> weights;
  ModelTensors views = tensors;
  for_each_weight(views, [&](const GgufWeight& weight, TensorView& /*tensor*/) {
    if (fused && (weight.kind == Kind::key || weight.kind == Kind::value)) return;
    weights.push_back(weight);
    if (fused && weight.kind == Kind::query) {
      fuse(weights.back(), tensors.layers.front().query.weight.shape[1]);
    }
  });
  return weights;
}

}  // namespace fathom
