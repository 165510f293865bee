#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/strong_types.h"
#include "depth/cost.h"
#include "formats/tensor_source.h"
#include "model/model_config.h"
#include "model/model_tensors.h"
#include "text/tokenizer.h"

namespace fathom {

/// A model as it lies on disk, opened and checked: a GGUF file or a Hugging Face folder. The
/// weights are mapped, not read.
struct ModelFiles {
  std::string path;
  std::string name;  ///< what the file calls the model, else the file's own name
  ModelConfig config;
  ModelTensors tensors;
  TensorSource source;  ///< keeps the tensors alive
  Tokenizer tokenizer;
  std::optional<std::string> chat_template;  ///< the model's own Jinja template
  std::vector<TokenId> end_tokens;           ///< any of them ends an answer
  std::string bos_text, eos_text;            ///< as the chat template writes them; may be empty

  /// Opens a GGUF file or a folder. Throws FileError on anything that is damaged, missing,
  /// contradictory or not supported.
  static ModelFiles open(const std::filesystem::path& path);

  /// From here on the weights are read as those of this model converted to `type`, which
  /// quantize() can make, into a file (model/gguf_export.h).
  void convert_weights(TensorType type);
};

/// Parameters and bytes by part: stored ones, or those of the type that weights are converted to.
struct PartSize {
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};
struct ModelSizes {
  PartSize embedding;  ///< with positions' and what leads from it into the layers
  std::vector<PartSize> layers;
  PartSize output_norm;  ///< with what leads from it to the head
  PartSize head;         ///< of its own; all zero if the embedding is the head
  [[nodiscard]] PartSize total() const;
};
ModelSizes model_sizes(const ModelTensors& tensors);

/// The bytes of a decoding step as the file stores the weights. `cache_element_bytes` is 2 for
/// 16-bit caches.
TokenBytes stored_token_bytes(const ModelTensors& tensors, const ModelConfig& config,
                              std::size_t cache_element_bytes);

}  // namespace fathom
