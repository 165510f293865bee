#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/strong_types.h"
#include "formats/gguf.h"
#include "text/decoder.h"
#include "text/special_tokens.h"

namespace fathom {

/// A byte-pair encoding tokenizer, byte-level or of SentencePiece's kind: a value, cheap to copy
/// and safe to use from many threads. Ids count from 0 and all below vocabulary_size() name a
/// token. docs/tokenizers.md says what is read from which file.
class Tokenizer {
 public:
  /// From the tokenizer.ggml.* metadata of a GGUF file: model "gpt2" (byte-level) and "llama"
  /// (SentencePiece). Control, unknown and user-defined tokens are found in texts. Throws FileError
  /// on metadata that is missing, inconsistent or of a kind that is not supported (which it names).
  static Tokenizer from_gguf(const GgufFile& file);
  /// From a Hugging Face tokenizer.json. Throws FileError likewise.
  static Tokenizer from_json(const std::filesystem::path& path);
  /// From a Hugging Face folder: tokenizer.json, or else vocab.json and merges.txt, together with
  /// tokenizer_config.json if it is there. Added tokens whose ids are not below `embedding_rows`
  /// are left out: Gemma 3's smaller models have no row for the token that stands for an image.
  /// Throws FileError likewise.
  static Tokenizer from_folder(const std::filesystem::path& folder,
                               std::optional<std::size_t> embedding_rows);

  /// Encodes text exactly as Hugging Face tokenizers do without adding a prefix or suffix. Bytes
  /// that are not UTF-8 count as U+FFFD, one for each longest beginning of a well-formed character
  /// or else for each byte (see text/unicode.h). What the vocabulary has no token for becomes its
  /// unknown token or, if it has none, is dropped. Throws InputError if the pre-tokenizer's pattern
  /// backtracks without end.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text, SpecialTokens special) const;

  /// The text of tokens, special tokens included; bytes that are no UTF-8 become U+FFFD, as
  /// Hugging Face decodes them. Throws InputError if an id is outside the vocabulary.
  [[nodiscard]] std::string decode(std::span<const TokenId> tokens) const;

  /// The bytes that one token stands for inside a text; they need not be whole characters. (At the
  /// beginning of a text decode() may leave a space out.) The view lives as long as a copy of this
  /// tokenizer. Throws InputError if the id is outside the vocabulary.
  [[nodiscard]] std::string_view bytes(TokenId token) const;
  /// Whether the token marks up text rather than being part of it. Throws InputError likewise.
  [[nodiscard]] bool is_special(TokenId token) const;
  /// The id of a token by its text as the vocabulary's owner writes it ("<|im_end|>").
  [[nodiscard]] std::optional<TokenId> find(std::string_view text) const;
  [[nodiscard]] std::size_t vocabulary_size() const;
  /// The token that the model expects before a text, if it expects one. encode() does not add it;
  /// a rendered chat template holds it where the template writes it.
  [[nodiscard]] std::optional<TokenId> beginning_of_text() const;

  struct Data;

  explicit Tokenizer(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  [[nodiscard]] const Data& data() const { return *data_; }

 private:
  friend class StreamDecoder;

  /// Pushes a token into the state of a text.
  std::string push(DecodingState& state, TokenId token) const;

  std::shared_ptr<const Data> data_;
};

/// Decodes a stream of tokens into text that never cuts a character: what a later token may still
/// change waits (see DecodingState). The pieces and the flush together equal Tokenizer::decode.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer);
  /// The text that became complete with this token; may be empty. Throws InputError if the id is
  /// outside the vocabulary.
  std::string push(TokenId token);
  /// What was left unfinished, as U+FFFD. The next push begins a new stream.
  std::string flush();

 private:
  Tokenizer tokenizer_;
  DecodingState state_;
};

}  // namespace fathom
