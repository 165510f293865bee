#include "model/model_tensors.h"

#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "model/gguf_names.h"
#include "model/tensor_names.h"

namespace fathom {
namespace {

constexpr TensorNames gguf_gpt2_names() {
  TensorNames names = gguf_tensor_names;
  names.query_key_value = gguf_query_key_value;
  return names;
}

TensorNames names_of(ModelFamily family, TensorNaming naming) {
  if (naming == TensorNaming::hugging_face) return hugging_face_names(family);
  return family == ModelFamily::gpt2 ? gguf_gpt2_names() : gguf_tensor_names;
}

/// Some rows of a matrix, or elements of a vector: those of one map where the file has several in
/// one tensor.
TensorView rows_of(const TensorSource& source, const TensorView& tensor, std::size_t first,
                   std::size_t count) {
  const std::size_t rows = tensor.shape.at(0);
  // A vector may be stored in blocks, which cannot be cut.
  if (tensor.shape.size() == 1 && info(tensor.type).block_elements != 1) {
    throw FileError(source.origin(), fmt::format("tensor '{}'", tensor.name),
                    fmt::format("{} found, F32, F16 or BF16 expected", info(tensor.type).name));
  }
  const std::size_t row_bytes = tensor.bytes.size() / rows;
  TensorView part = tensor;
  part.shape[0] = count;
  part.bytes = tensor.bytes.subspan(first * row_bytes, count * row_bytes);
  return part;
}

/// Finds the tensors of one model. Names come with {} replaced.
class Finder {
 public:
  Finder(const TensorSource& source, const ModelConfig& config, TensorNaming naming)
      : source_(source), config_(config), names_(names_of(config.family, naming)) {
    const std::string embedding = fmt::format("{}{}.weight", names_.prefix, names_.embedding);
    if (source.find(embedding) == nullptr && source.find(std::string(names_.embedding) + ".weight"))
      names_.prefix = {};
  }

  [[nodiscard]] ModelTensors model() const {
    ModelTensors tensors;
    tensors.embedding = matrix(stem(names_.embedding), config_.vocabulary, config_.embedding_width);
    if (config_.learned_positions) {
      tensors.positions = matrix(stem(names_.positions),
                                 config_.context + *config_.learned_positions, config_.width);
    }
    if (config_.embedding_width != config_.width) {
      tensors.project_in =
          linear(stem(names_.project_in), config_.width, config_.embedding_width, Presence::never);
      tensors.project_out =
          linear(stem(names_.project_out), config_.embedding_width, config_.width, Presence::never);
    }
    if (config_.norm.final_norm == Presence::always) {
      tensors.output_norm = norm(stem(names_.output_norm), config_.width);
    }
    if (!config_.tied_head) {
      tensors.head = matrix(std::string(names_.head), config_.vocabulary, config_.embedding_width);
    }
    for (std::size_t l = 0; l < config_.layers; ++l) tensors.layers.push_back(layer(l));
    return tensors;
  }

 private:
  [[nodiscard]] std::string stem(std::string_view name) const {
    return std::string(names_.prefix).append(name);
  }
  [[nodiscard]] std::string stem(std::string_view pattern, std::size_t layer) const {
    return fmt::format(fmt::runtime(stem(pattern)), layer);
  }

  [[nodiscard]] TensorView matrix(const std::string& stem, std::size_t rows,
                                  std::size_t columns) const {
    return source_.require(stem + ".weight", std::array{rows, columns});
  }

  [[nodiscard]] NormTensors norm(const std::string& stem, std::size_t size) const {
    if (config_.norm.weights == Presence::never) return {};
    NormTensors result{source_.require(stem + ".weight", std::array{size}), std::nullopt};
    if (config_.norm.kind == NormKind::layer) {
      result.bias = source_.require(stem + ".bias", std::array{size});
    }
    return result;
  }

  [[nodiscard]] std::optional<TensorView> bias(const std::string& stem, std::size_t size,
                                               Presence presence) const {
    const std::string name = stem + ".bias";
    if (presence == Presence::never) return std::nullopt;
    if (presence == Presence::if_found && source_.find(name) == nullptr) return std::nullopt;
    return source_.require(name, std::array{size});
  }

  [[nodiscard]] LinearTensors linear(const std::string& stem, std::size_t outputs,
                                     std::size_t inputs, Presence with_bias) const {
    if (!names_.inputs_first) {
      return {matrix(stem, outputs, inputs), bias(stem, outputs, with_bias)};
    }
    return {inputs_first_matrix(stem, outputs, inputs), bias(stem, outputs, with_bias),
            ColumnRange{0, outputs}};
  }

  [[nodiscard]] TensorView inputs_first_matrix(const std::string& stem, std::size_t outputs,
                                               std::size_t inputs) const {
    TensorView weight = matrix(stem, inputs, outputs);
    if (info(weight.type).block_elements != 1) {
      throw FileError(source_.origin(), fmt::format("tensor '{}'", weight.name),
                      fmt::format("{} found, F32, F16 or BF16 expected", info(weight.type).name));
    }
    return weight;
  }

  // Queries, keys and values, which may be one tensor with the outputs of the three in this order.
  void find_query_key_value(std::size_t l, LayerTensors& layer) const {
    const Presence with_bias = config_.query_key_value_bias;
    const std::size_t query = config_.query_width();
    const std::size_t kv = config_.kv_width();
    if (names_.query_key_value.empty()) {
      layer.query = linear(stem(names_.query, l), query, config_.width, with_bias);
      layer.key = linear(stem(names_.key, l), kv, config_.width, with_bias);
      layer.value = linear(stem(names_.value, l), kv, config_.width, with_bias);
      return;
    }
    const LinearTensors fused =
        linear(stem(names_.query_key_value, l), query + 2 * kv, config_.width, with_bias);
    const auto part = [&](std::size_t first, std::size_t count) {
      LinearTensors result = fused;
      if (fused.columns) {
        result.columns = ColumnRange{first, count};
      } else {
        result.weight = rows_of(source_, fused.weight, first, count);
      }
      if (fused.bias) result.bias = rows_of(source_, *fused.bias, first, count);
      return result;
    };
    layer.query = part(0, query);
    layer.key = part(query, kv);
    layer.value = part(query + kv, kv);
  }

  [[nodiscard]] LayerTensors layer(std::size_t l) const {
    LayerTensors layer;
    layer.attention_norm = norm(stem(names_.attention_norm, l), config_.width);
    find_query_key_value(l, layer);
    if (config_.norm.head_norms == Presence::always) {
      layer.query_norm = norm(stem(names_.query_norm, l), config_.head_dim);
      layer.key_norm = norm(stem(names_.key_norm, l), config_.head_dim);
    }
    layer.attention_output = linear(stem(names_.attention_output, l), config_.width,
                                    config_.query_width(), config_.attention_output_bias);
    layer.ffn_norm = norm(stem(names_.ffn_norm, l), config_.width);
    if (config_.norm.placement == NormPlacement::around) {
      layer.attention_output_norm = norm(stem(names_.attention_output_norm, l), config_.width);
      layer.ffn_output_norm = norm(stem(names_.ffn_output_norm, l), config_.width);
    }
    if (config_.gated) {
      layer.gate = linear(stem(names_.gate, l), config_.ffn_width, config_.width, config_.ffn_bias);
    }
    layer.up = linear(stem(names_.up, l), config_.ffn_width, config_.width, config_.ffn_bias);
    layer.down = linear(stem(names_.down, l), config_.width, config_.ffn_width, config_.ffn_bias);
    return layer;
  }

  const TensorSource& source_;
  const ModelConfig& config_;
  TensorNames names_;
};

}  // namespace

std::vector<std::size_t> outputs_first_shape(const TensorView& weight,
                                             const std::optional<ColumnRange>& columns) {
  if (!columns) return weight.shape;
  return {columns->count, weight.shape.front()};
}

ModelTensors find_tensors(const TensorSource& source, const ModelConfig& config,
                          TensorNaming naming) {
  return Finder(source, config, naming).model();
}

}  // namespace fathom
