#include "model/gguf_names.h"

#include <optional>

#include <fmt/format.h>

#include "base/error.h"

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
    case ModelFamily::opt:
    case ModelFamily::gpt2:
      break;
  }
  throw InputError(fmt::format("folders of {} are not converted to GGUF yet", name(family)));
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

void for_each_weight(ModelTensors& tensors,
                     const std::function<void(const std::string& name, TensorView& tensor,
                                              GgufWeight::Rows rows, std::size_t columns)>& visit) {
  constexpr const TensorNames& names = gguf_tensor_names;
  using Rows = GgufWeight::Rows;
  const auto tensor = [&](const std::string& name, std::optional<TensorView>& view,
                          Rows rows = Rows::as_stored) {
    if (view) visit(name, *view, rows, view->shape.back());
  };
  const auto matrix = [&](std::string_view stem, TensorView& view) {
    visit(fmt::format("{}.weight", stem), view, Rows::as_stored, view.shape.back());
  };
  const auto linear = [&](const std::string& stem, LinearTensors& map,
                          Rows rows = Rows::as_stored) {
    const std::vector<std::size_t>& shape = map.weight.shape;
    visit(stem + ".weight", map.weight, rows, map.columns ? shape.front() : shape.back());
    tensor(stem + ".bias", map.bias, rows);
  };
  const auto norm = [&](const std::string& stem, NormTensors& vectors) {
    tensor(stem + ".weight", vectors.weight);
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
    linear(stem(names.query), layer.query, Rows::query_heads);
    linear(stem(names.key), layer.key, Rows::key_heads);
    linear(stem(names.value), layer.value);
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

std::vector<GgufWeight> gguf_weights(const ModelTensors& tensors) {
  std::vector<GgufWeight> weights;
  ModelTensors views = tensors;
  for_each_weight(views, [&](const std::string& name, TensorView& tensor, GgufWeight::Rows rows,
                             std::size_t /*columns*/) {
    weights.push_back({name, tensor, rows});
  });
  return weights;
}

}  // namespace fathom
