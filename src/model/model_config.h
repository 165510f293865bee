#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "formats/json_file.h"
#include "kernels/activation.h"
#include "model/rotary.h"

namespace fathom {

/// The architectures that are known. Each is described by data (ModelConfig), not by code of its
/// own; docs/models.md says what of each is supported.
enum class ModelFamily { llama, mistral, qwen2, qwen3, smollm3, gemma3, opt, gpt2 };
std::string_view name(ModelFamily family);

/// Which dimensions of a head a rotation pairs, as the query and key weights are stored.
enum class RotaryPairing {
  halves,       ///< i with i + dimensions/2, as Hugging Face stores all families
  interleaved,  ///< 2i with 2i + 1, as GGUF stores Llama and SmolLM3
};

/// What a norm computes.
enum class NormKind {
  root_mean_square,  ///< x / sqrt(mean(x^2) + epsilon) * weight
  layer,             ///< (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias
};

/// Where the norms of a layer's two blocks f, attention and feed-forward, stand.
enum class NormPlacement {
  before,  ///< x + f(norm(x))
  after,   ///< norm(x + f(x))
  around,  ///< x + norm'(f(norm(x)))
};

/// Whether a model has some tensors.
enum class Presence {
  never,     ///< not looked at, should the file have them
  always,    ///< an error if they are missing
  if_found,  ///< the file says so by having them
};

/// All norms of a model.
struct NormConfig {
  NormKind kind = NormKind::root_mean_square;
  NormPlacement placement = NormPlacement::before;
  float epsilon = 1e-5F;
  Presence weights = Presence::always;  ///< never: as if all were 1, and all biases 0
  float weight_offset = 0;              ///< what is added to the stored weights
  Presence final_norm = Presence::always;
  Presence head_norms = Presence::never;  ///< of each query and key head, before rotation
};

/// What differs from layer to layer.
struct LayerAttention {
  float scale = 1;                    ///< on the products of query and key
  std::optional<std::size_t> window;  ///< positions a token sees, itself included; else all
  std::optional<std::size_t> rotary;  ///< which of ModelConfig::rotaries; else no rotation
};

/// Shapes and constants of a model, checked: every product below fits, heads divide evenly.
struct ModelConfig {
  ModelFamily family = ModelFamily::llama;
  std::size_t layers = 0;
  std::size_t width = 0;     ///< of a hidden state
  std::size_t heads = 0;     ///< query heads
  std::size_t kv_heads = 0;  ///< key/value heads; divides heads
  std::size_t head_dim = 0;
  std::size_t ffn_width = 0;   ///< of the feed-forward's inner state
  std::size_t vocabulary = 0;  ///< rows of the embedding
  std::size_t context = 0;     ///< positions the model was trained for

  /// Of an embedding. Where that is not `width`, linear maps lead from the embedding into the first
  /// layer and from the final norm to the head.
  std::size_t embedding_width = 0;
  float embedding_scale = 1;  ///< on the embeddings of tokens
  bool tied_head = false;     ///< the output head is the embedding
  /// Where positions have embeddings of their own: the row of position 0.
  std::optional<std::size_t> learned_positions;

  NormConfig norm;
  Activation activation = Activation::silu;
  bool gated = true;  ///< the feed-forward has a gate, which the activation function is applied to
  Presence query_key_value_bias = Presence::if_found;
  Presence attention_output_bias = Presence::if_found;
  Presence ffn_bias = Presence::if_found;

  RotaryPairing pairing = RotaryPairing::halves;
  std::vector<RotaryConfig> rotaries;
  std::vector<LayerAttention> attention;  ///< of each layer

  [[nodiscard]] std::int32_t depth() const { return static_cast<std::int32_t>(layers); }
  [[nodiscard]] std::size_t query_width() const { return heads * head_dim; }
  [[nodiscard]] std::size_t kv_width() const { return kv_heads * head_dim; }
};

/// From the metadata of a GGUF file. Throws FileError naming the key on anything that is missing,
/// impossible or not supported.
ModelConfig read_config(const GgufFile& file);

/// From a Hugging Face config.json. Throws FileError likewise.
ModelConfig read_config(const JsonFields& json);

}  // namespace fathom
