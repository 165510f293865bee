#include "model/gguf_names.h"

#include <stdexcept>

#include <fmt/format.h>

namespace fathom {
GgufFamily gguf_family(ModelFamily family) {
  switch (family) {
    case ModelFamily::llama:
      return {"llama", RotaryPairing::interleaved};
  }
  throw std::logic_error("unknown family");
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
                                              GgufWeight::Rows rows)>& visit) {
  constexpr const TensorNames& names = gguf_tensor_names;
  using Rows = GgufWeight::Rows;
  const auto tensor = [&](const std::string& stem, TensorView& view) {
    visit(stem + ".weight", view, Rows::as_stored);
  };
  const auto linear = [&](const std::string& stem, LinearTensors& map,
                          Rows rows = Rows::as_stored) {
    visit(stem + ".weight", map.weight, rows);
    if (map.bias) visit(stem + ".bias", *map.bias, rows);
  };
  tensor(std::string(names.embedding), tensors.embedding);
  for (std::size_t l = 0; l < tensors.layers.size(); ++l) {
    LayerTensors& layer = tensors.layers[l];
    const auto stem = [&](std::string_view pattern) {
      return fmt::format(fmt::runtime(pattern), l);
    };
    tensor(stem(names.attention_norm), layer.attention_norm);
    linear(stem(names.query), layer.query, Rows::query_heads);
    linear(stem(names.key), layer.key, Rows::key_heads);
    linear(stem(names.value), layer.value);
    linear(stem(names.attention_output), layer.attention_output);
    tensor(stem(names.ffn_norm), layer.ffn_norm);
    linear(stem(names.gate), layer.gate);
    linear(stem(names.up), layer.up);
    linear(stem(names.down), layer.down);
  }
  tensor(std::string(names.output_norm), tensors.output_norm);
  if (tensors.head) tensor(std::string(names.head), *tensors.head);
}

std::vector<GgufWeight> gguf_weights(const ModelTensors& tensors) {
  std::vector<GgufWeight> weights;
  ModelTensors views = tensors;
  for_each_weight(views, [&](const std::string& name, TensorView& tensor, GgufWeight::Rows rows) {
    weights.push_back({name, tensor, rows});
  });
  return weights;
}

}  // namespace fathom
