#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/strong_types.h"

namespace fathom {

/// A tokenizer.json as the tokenizer.ggml.* metadata of a GGUF file says it.
struct GgufTokenizer {
  std::string model;                 ///< tokenizer.ggml.model: "gpt2", byte-level BPE
  std::string pre_tokenizer;         ///< tokenizer.ggml.pre
  std::vector<std::string> tokens;   ///< by id
  std::vector<std::int32_t> types;   ///< of tokens: as tokenizer.ggml.token_type numbers them
  std::vector<std::string> merges;   ///< by rank: two tokens, a space between
  std::optional<TokenId> beginning;  ///< put before a text, if the tokenizer does that
  std::optional<TokenId> unknown;    ///< the model's unk_token
  /// What GGUF cannot say of it, in whole sentences without the full stop.
  std::vector<std::string> notes;
};

/// The tokenizer of `path`, with tokens named [PAD...] up to `vocabulary` ids, so that there are as
/// many as the model's embedding has rows. Throws FileError as Tokenizer::from_json does, and where
/// GGUF has no name for how it cuts texts or cannot hold its merges.
GgufTokenizer gguf_tokenizer(const std::filesystem::path& path, std::size_t vocabulary);

}  // namespace fathom
