#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/strong_types.h"
#include "model/model_config.h"
#include "model/model_tensors.h"
#include "nn/dropout.h"
#include "nn/lora.h"
#include "nn/parameters.h"

namespace fathom {

/// A linear map: its weight is a stored tensor or, for maps that are stored together, some of its
/// rows or columns. An adapter's factors may add to it.
class Linear {
 public:
  Linear(const LinearTensors& tensors, Parameters& parameters, at::ScalarType product_type);
  /// x W^T + b for x [rows][inputs], in the type of products.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const;
  /// Adds scale * B (A x) from here on. The map's outputs are those of B from `first` on.
  void adapt(const LoraTensors& factors, double scale, std::size_t first);

 private:
  // Rows of a stored tensor; all of it if there is no range.
  struct Part {
    at::Tensor stored;
    std::optional<ColumnRange> rows;
    [[nodiscard]] at::Tensor tensor() const;
  };
  struct Change {
    at::Tensor a;
    Part b;
    double scale;
  };
  static Part part(const TensorView& view, Parameters& parameters);
  [[nodiscard]] at::Tensor product(const at::Tensor& input) const;

  Part weight_;
  std::optional<Part> bias_;
  std::optional<ColumnRange> columns_;  // of a weight with the inputs first
  std::size_t outputs_;
  std::optional<Change> change_;
  at::ScalarType product_type_;
};

/// A norm of the model's kind.
class Norm {
 public:
  Norm(const NormTensors& tensors, const NormConfig& config, Parameters& parameters);
  /// Over the last dimension.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor weight_, bias_;  // undefined where there are none
  NormKind kind_;
  double epsilon_;
  double weight_offset_;
};

/// Cosines and sines of one of the model's rotations for some rows, in the product type:
/// [rows][1][dimensions], in the places of the numbers that they turn. A pair's first sine is
/// negative.
struct RotaryAngles {
  at::Tensor cosine, sine;
};

/// What attention reads of rows, rotated: [rows][heads][head_dim], keys and values [rows][kv_heads]
/// [head_dim].
struct AttentionInputs {
  at::Tensor query, key, value;
};

/// What a decoder-only model computes, a layer at a time, for all families: the same for inference
/// and training, with or without gradients. Rows are those of any sequences side by side; who runs
/// a layer and sees whom is up to the caller. States and norms are in the states' type; products,
/// attention and logits in the product type. Where a Dropout is given it is the model's own, as
/// in training; null: none.
class Decoder {
 public:
  /// Reads what it needs from `parameters`, whose tensors it goes on to use.
  Decoder(const ModelConfig& config, const ModelTensors& tensors, Parameters& parameters,
          at::ScalarType product_type);

  /// The same weights, to whose linear maps `lora` adds.
  [[nodiscard]] Decoder adapted(const LoraParameters& lora) const;

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  /// Of states: float64 in a model of float64, else float32.
  [[nodiscard]] at::ScalarType state_type() const { return state_type_; }
  [[nodiscard]] at::Device device() const { return embedding_.device(); }

  /// What rows begin with: [rows][width]. `tokens` and `positions` are [rows], int64.
  [[nodiscard]] at::Tensor embed(const at::Tensor& tokens, const at::Tensor& positions,
                                 const PartedDropout* dropout) const;
  /// Of each of the model's rotations.
  [[nodiscard]] std::vector<RotaryAngles> angles(const at::Tensor& positions) const;
  /// The first half of a layer: from states [rows][width] to queries, keys and values. `angles` are
  /// those of these rows.
  [[nodiscard]] AttentionInputs attention_inputs(LayerIndex layer, const at::Tensor& states,
                                                 const std::vector<RotaryAngles>& angles) const;
  /// Attention within sequences that lie side by side: query [sequences][rows][heads][head_dim] at
  /// positions first, first + 1, ...; keys and values [sequences][kv_heads][positions][head_dim] of
  /// all positions up to the last query's. Gives [sequences * rows][heads * head_dim].
  [[nodiscard]] at::Tensor attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                                  const at::Tensor& value, std::int64_t first) const;
  /// Likewise for rows at any positions, of which `visible` [sequences][1][rows][positions] says
  /// what they see.
  [[nodiscard]] at::Tensor attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                                  const at::Tensor& value, const at::Tensor& visible) const;
  /// As the first, with dropout, of which each sequence is a part of 1.
  [[nodiscard]] at::Tensor attend(LayerIndex layer, const at::Tensor& query, const at::Tensor& key,
                                  const at::Tensor& value, std::int64_t first,
                                  const PartedDropout& dropout) const;
  /// The second half: from the states and what attention gave to the states after the layer.
  [[nodiscard]] at::Tensor finish(LayerIndex layer, const at::Tensor& states,
                                  const at::Tensor& attended, const PartedDropout* dropout) const;
  /// The states as they are if the model has no final norm.
  [[nodiscard]] at::Tensor final_norm(const at::Tensor& states) const;
  /// Logits [rows][vocabulary] of states before the final norm.
  [[nodiscard]] at::Tensor head(const at::Tensor& states) const;

 private:
  struct Layer {
    Norm attention_norm;
    Linear query, key, value;
    std::optional<Norm> query_norm, key_norm;
    Linear attention_output;
    std::optional<Norm> attention_output_norm;
    Norm ffn_norm;
    std::optional<Linear> gate;
    Linear up, down;
    std::optional<Norm> ffn_output_norm;
  };
  [[nodiscard]] Layer layer(const LayerTensors& tensors, Parameters& parameters) const;
  // Adds a block's output to the states, with the norms that belong there.
  [[nodiscard]] at::Tensor add_block(const at::Tensor& states, const at::Tensor& output,
                                     const Norm& norm,
                                     const std::optional<Norm>& output_norm) const;
  // Which of the positions 0 to `seen` - 1 rows at first, first + 1, ... see: [rows][seen], true or
  // false. `options` say where.
  [[nodiscard]] at::Tensor mask(LayerIndex layer, std::int64_t first, std::int64_t rows,
                                std::int64_t seen, const at::TensorOptions& options) const;
  [[nodiscard]] at::Tensor rotate(const at::Tensor& heads, const RotaryAngles& angles) const;

  ModelConfig config_;
  at::ScalarType product_type_, state_type_;
  at::Tensor embedding_, positions_, head_;  // undefined where there are none
  std::vector<at::Tensor> frequencies_;      // of each rotation
  std::optional<Linear> project_in_, project_out_;
  std::optional<Norm> output_norm_;
  std::vector<Layer> layers_;
};

}  // namespace fathom
