#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/strong_types.h"
#include "text/tokenizer_parts.h"

namespace fathom {

/// A tokenizer as the tokenizer.ggml.* metadata of a GGUF file says it.
struct GgufTokenizer {
  /// tokenizer.ggml.model: "gpt2", byte-level BPE, or "llama", SentencePiece's
  std::string model;
  std::string pre_tokenizer;         ///< tokenizer.ggml.pre
  std::vector<std::string> tokens;   ///< by id
  std::vector<std::int32_t> types;   ///< of tokens: as tokenizer.ggml.token_type numbers them
  std::vector<std::string> merges;   ///< of gpt2, by rank: two tokens, a space between
  std::vector<float> scores;         ///< of llama, of tokens: higher ones are joined first
  std::optional<bool> space_prefix;  ///< of llama: tokenizer.ggml.add_space_prefix
  std::optional<TokenId> beginning;  ///< put before a text, if the tokenizer does that
  std::optional<TokenId> unknown;    ///< the model's unk_token
  /// What GGUF cannot say of it, in whole sentences without the full stop.
  std::vector<std::string> notes;
};

/// What `parts` say, with tokens named [PAD...] up to `vocabulary` ids, so that there are as many
/// as the model's embedding has rows. Throws FileError as build() does, and where GGUF has no name
/// for how it cuts texts or cannot hold its merges.
GgufTokenizer gguf_tokenizer(const TokenizerParts& parts, std::size_t vocabulary);

/// The tokenizer of a Hugging Face folder, without the added tokens whose ids are not below
/// `vocabulary`. Throws FileError likewise and as Tokenizer::from_folder does.
GgufTokenizer gguf_tokenizer_of_folder(const std::filesystem::path& folder, std::size_t vocabulary);

}  // namespace fathom
