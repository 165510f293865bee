#include "model/model_tensors.h"

#include <array>

#include <fmt/format.h>

#include "base/error.h"
#include "model/gguf_names.h"

namespace fathom {
namespace {

constexpr TensorNames hugging_face_names{
    .embedding = "model.embed_tokens",
    .output_norm = "model.norm",
    .head = "lm_head",
    .attention_norm = "model.layers.{}.input_layernorm",
    .query = "model.layers.{}.self_attn.q_proj",
    .key = "model.layers.{}.self_attn.k_proj",
    .value = "model.layers.{}.self_attn.v_proj",
    .attention_output = "model.layers.{}.self_attn.o_proj",
    .ffn_norm = "model.layers.{}.post_attention_layernorm",
    .gate = "model.layers.{}.mlp.gate_proj",
    .up = "model.layers.{}.mlp.up_proj",
    .down = "model.layers.{}.mlp.down_proj",
};

class Finder {
 public:
  explicit Finder(const TensorSource& source) : source_(source) {}

  TensorView vector(const std::string& stem, std::size_t size) const {
    return source_.require(stem + ".weight", std::array{size});
  }
  TensorView matrix(const std::string& stem, std::size_t rows, std::size_t columns) const {
    return source_.require(stem + ".weight", std::array{rows, columns});
  }
  LinearTensors linear(const std::string& stem, std::size_t rows, std::size_t columns) const {
    LinearTensors result{matrix(stem, rows, columns), std::nullopt};
    if (source_.find(stem + ".bias") != nullptr) {
      result.bias = source_.require(stem + ".bias", std::array{rows});
    }
    return result;
  }

 private:
  const TensorSource& source_;
};

}  // namespace

ModelTensors find_tensors(const TensorSource& source, const ModelConfig& config,
                          TensorNaming naming) {
  const TensorNames& names = naming == TensorNaming::gguf ? gguf_tensor_names : hugging_face_names;
  const Finder finder(source);
  ModelTensors tensors;
  tensors.embedding = finder.matrix(std::string(names.embedding), config.vocabulary, config.width);
  tensors.output_norm = finder.vector(std::string(names.output_norm), config.width);
  if (!config.tied_head) {
    tensors.head = finder.matrix(std::string(names.head), config.vocabulary, config.width);
  }
  for (std::size_t l = 0; l < config.layers; ++l) {
    const auto stem = [&](std::string_view pattern) {
      return fmt::format(fmt::runtime(pattern), l);
    };
    tensors.layers.push_back({
        .attention_norm = finder.vector(stem(names.attention_norm), config.width),
        .query = finder.linear(stem(names.query), config.query_width(), config.width),
        .key = finder.linear(stem(names.key), config.kv_width(), config.width),
        .value = finder.linear(stem(names.value), config.kv_width(), config.width),
        .attention_output =
            finder.linear(stem(names.attention_output), config.width, config.query_width()),
        .ffn_norm = finder.vector(stem(names.ffn_norm), config.width),
        .gate = finder.linear(stem(names.gate), config.ffn_width, config.width),
        .up = finder.linear(stem(names.up), config.ffn_width, config.width),
        .down = finder.linear(stem(names.down), config.width, config.ffn_width),
    });
  }
  return tensors;
}

}  // namespace fathom
