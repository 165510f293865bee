#pragma once

#include <optional>
#include <vector>

#include "formats/tensor_source.h"
#include "model/model_config.h"

namespace fathom {

/// A linear map as stored: weight [outputs][inputs] and, where the model has one, bias [outputs].
struct LinearTensors {
  TensorView weight;
  std::optional<TensorView> bias;
};

/// The weights of one decoder layer.
struct LayerTensors {
  TensorView attention_norm;       ///< [width]
  LinearTensors query;             ///< [heads * head_dim][width]
  LinearTensors key;               ///< [kv_heads * head_dim][width]
  LinearTensors value;             ///< [kv_heads * head_dim][width]
  LinearTensors attention_output;  ///< [width][heads * head_dim]
  TensorView ffn_norm;             ///< [width]
  LinearTensors gate;              ///< [ffn_width][width]
  LinearTensors up;                ///< [ffn_width][width]
  LinearTensors down;              ///< [width][ffn_width]
};

/// The weights of a model by their role, whatever the file calls them. Views: the TensorSource that
/// they were found in must stay alive.
struct ModelTensors {
  TensorView embedding;  ///< [vocabulary][width]
  std::vector<LayerTensors> layers;
  TensorView output_norm;          ///< [width]
  std::optional<TensorView> head;  ///< [vocabulary][width]; absent if the embedding is the head
};

/// How a kind of file names its tensors.
enum class TensorNaming { gguf, hugging_face };

/// Finds all weights of a model. Throws FileError naming the tensor if one is missing or of another
/// shape than the configuration says.
ModelTensors find_tensors(const TensorSource& source, const ModelConfig& config,
                          TensorNaming naming);

}  // namespace fathom
