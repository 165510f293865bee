#include "model/gguf_names.h"

#include <stdexcept>

#include <fmt/format.h>

namespace fathom {
namespace {

class WeightList {
 public:
  using Rows = GgufWeight::Rows;

  void add(const std::string& stem, const TensorView& tensor) {
    list_.push_back({stem + ".weight", tensor, Rows::as_stored});
  }
  void add(const std::string& stem, const LinearTensors& linear, Rows rows = Rows::as_stored) {
    list_.push_back({stem + ".weight", linear.weight, rows});
    if (linear.bias) list_.push_back({stem + ".bias", *linear.bias, rows});
  }
  std::vector<GgufWeight> take() { return std::move(list_); }

 private:
  std::vector<GgufWeight> list_;
};

}  // namespace

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

std::vector<GgufWeight> gguf_weights(const ModelTensors& tensors) {
  constexpr const TensorNames& names = gguf_tensor_names;
  using Rows = GgufWeight::Rows;
  WeightList list;
  list.add(std::string(names.embedding), tensors.embedding);
  for (std::size_t l = 0; l < tensors.layers.size(); ++l) {
    const LayerTensors& layer = tensors.layers[l];
    const auto stem = [&](std::string_view pattern) {
      return fmt::format(fmt::runtime(pattern), l);
    };
    list.add(stem(names.attention_norm), layer.attention_norm);
    list.add(stem(names.query), layer.query, Rows::query_heads);
    list.add(stem(names.key), layer.key, Rows::key_heads);
    list.add(stem(names.value), layer.value);
    list.add(stem(names.attention_output), layer.attention_output);
    list.add(stem(names.ffn_norm), layer.ffn_norm);
    list.add(stem(names.gate), layer.gate);
    list.add(stem(names.up), layer.up);
    list.add(stem(names.down), layer.down);
  }
  list.add(std::string(names.output_norm), tensors.output_norm);
  if (tensors.head) list.add(std::string(names.head), *tensors.head);
  return list.take();
}

}  // namespace fathom
