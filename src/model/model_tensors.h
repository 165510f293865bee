#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "formats/tensor_source.h"
#include "model/model_config.h"

namespace fathom {

/// Neighbouring columns of a matrix.
struct ColumnRange {
  std::size_t first = 0;
  std::size_t count = 0;
};

/// The shape [outputs][inputs] of a linear map's weight. With `columns` the file has inputs first,
/// and these of its columns are the outputs; without, it is the tensor's own.
std::vector<std::size_t> outputs_first_shape(const TensorView& weight,
                                             const std::optional<ColumnRange>& columns);

/// A linear map as stored: weight [outputs][inputs] and, where the model has one, bias [outputs].
struct LinearTensors {
  TensorView weight;
  std::optional<TensorView> bias;
  /// Set where the file has inputs first, as GPT-2's does: the weight is [inputs][columns] of a
  /// type that has no blocks, and these of its columns are the map's outputs.
  std::optional<ColumnRange> columns = std::nullopt;
};

/// The weights of a norm; neither is there if the model's norms have none.
struct NormTensors {
  std::optional<TensorView> weight;
  std::optional<TensorView> bias;  ///< NormKind::layer only
};

/// The weights of one decoder layer.
struct LayerTensors {
  NormTensors attention_norm;                        ///< [width]; before or after the attention
  LinearTensors query;                               ///< [heads * head_dim][width]
  LinearTensors key;                                 ///< [kv_heads * head_dim][width]
  LinearTensors value;                               ///< [kv_heads * head_dim][width]
  std::optional<NormTensors> query_norm, key_norm;   ///< [head_dim]; if there are head norms
  LinearTensors attention_output;                    ///< [width][heads * head_dim]
  std::optional<NormTensors> attention_output_norm;  ///< [width]; NormPlacement::around only
  NormTensors ffn_norm;                              ///< [width]; before or after the feed-forward
  std::optional<LinearTensors> gate;                 ///< [ffn_width][width]; if it is gated
  LinearTensors up;                                  ///< [ffn_width][width]
  LinearTensors down;                                ///< [width][ffn_width]
  std::optional<NormTensors> ffn_output_norm;        ///< [width]; NormPlacement::around only
};

/// The weights of a model by their role, whatever the file calls them. Views: the TensorSource that
/// they were found in must stay alive.
struct ModelTensors {
  TensorView embedding;                     ///< [vocabulary][embedding_width]
  std::optional<TensorView> positions;      ///< [learned_positions + context][width]
  std::optional<LinearTensors> project_in;  ///< [width][embedding_width], if these differ
  std::vector<LayerTensors> layers;
  std::optional<NormTensors> output_norm;    ///< [width]
  std::optional<LinearTensors> project_out;  ///< [embedding_width][width], if these differ
  /// [vocabulary][embedding_width]; absent if the embedding is the head
  std::optional<TensorView> head;
};

/// How a kind of file names its tensors.
enum class TensorNaming { gguf, hugging_face };

/// Finds all weights of a model. Throws FileError naming the tensor if one is missing or of another
/// shape than the configuration says.
ModelTensors find_tensors(const TensorSource& source, const ModelConfig& config,
                          TensorNaming naming);

}  // namespace fathom
