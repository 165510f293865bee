#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "formats/tensor_source.h"

namespace fathom {

/// A model folder as Hugging Face transformers writes it, but for the tokenizer's own files:
/// config.json, optionally generation_config.json and tokenizer_config.json, and the weights in
/// model.safetensors, or in the shards that model.safetensors.index.json names, or else in
/// pytorch_model.bin or the shards of pytorch_model.bin.index.json. The weights are views of mapped
/// files, under their names in the folder.
struct HuggingFaceFolder {
  std::filesystem::path path;
  nlohmann::json config;                            ///< an object
  std::optional<nlohmann::json> generation_config;  ///< an object, if the file is there
  std::optional<nlohmann::json> tokenizer_config;   ///< an object, if the file is there
  std::optional<std::string> chat_template;  ///< from chat_template.jinja or tokenizer_config
  TensorSource tensors;

  /// Throws FileError if a file is missing, damaged, or disagrees with another.
  static HuggingFaceFolder open(const std::filesystem::path& path);

  /// The text that tokenizer_config.json gives for a token ("bos_token"): as a string, or as an
  /// object with the text in "content". Empty if it names none. Throws FileError if it is neither.
  [[nodiscard]] std::string special_token(std::string_view key) const;
};

}  // namespace fathom
