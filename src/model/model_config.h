#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "formats/gguf.h"
#include "formats/json_file.h"
#include "model/rotary.h"

namespace fathom {

/// The architectures that are known. Each is described by data (ModelConfig), not by code of its
/// own.
enum class ModelFamily { llama };
std::string_view name(ModelFamily family);

/// Which dimensions of a head a rotation pairs, as the query and key weights are stored.
enum class RotaryPairing {
  halves,       ///< i with i + dimensions/2, as Hugging Face stores Llama
  interleaved,  ///< 2i with 2i + 1, as GGUF stores Llama
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
  float norm_epsilon = 1e-5F;
  bool tied_head = false;  ///< the output head is the embedding
  RotaryPairing pairing = RotaryPairing::halves;
  RotaryConfig rotary;

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
