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
#include "text/special_tokens.h"

namespace fathom {

/// A byte-level BPE tokenizer: a value, cheap to copy and safe to use from many threads.
/// Ids count from 0 and all below vocabulary_size() name a token.
class Tokenizer {
 public:
  /// From the tokenizer.ggml.* metadata of a GGUF file: model "gpt2" with the pre-tokenizers
  /// gpt-2 (also where none is named), smollm, llama-bpe and qwen2, and their aliases. Control and
  /// user-defined tokens are found in texts. Throws FileError on metadata that is missing,
  /// inconsistent or of a kind that is not supported (which it names).
  static Tokenizer from_gguf(const GgufFile& file);
  /// From a Hugging Face tokenizer.json of a byte-level BPE. Throws FileError likewise.
  static Tokenizer from_json(const std::filesystem::path& path);

  /// Encodes text exactly as Hugging Face tokenizers do without adding a prefix or suffix. Bytes
  /// that are not UTF-8 count as U+FFFD, one for each longest beginning of a well-formed character
  /// or else for each byte (see text/unicode.h). A byte that the vocabulary has no token for is
  /// dropped. Throws InputError if the pre-tokenizer's pattern backtracks without end.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text, SpecialTokens special) const;

  /// The text of tokens, special tokens included; bytes that are no UTF-8 become U+FFFD, as
  /// Hugging Face decodes them. Throws InputError if an id is outside the vocabulary.
  [[nodiscard]] std::string decode(std::span<const TokenId> tokens) const;

  /// The bytes that one token stands for; they need not be whole characters. The view lives as long
  /// as a copy of this tokenizer. Throws InputError if the id is outside the vocabulary.
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
  std::shared_ptr<const Data> data_;
};

/// Decodes a stream of tokens into text that never cuts a character: bytes of an unfinished
/// character wait for the next token. The pieces and the flush together equal Tokenizer::decode.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  /// The text that became complete with this token; may be empty. Throws InputError if the id is
  /// outside the vocabulary.
  std::string push(TokenId token);
  /// What was left unfinished, as U+FFFD. The next push begins a new stream.
  std::string flush();

 private:
  Tokenizer tokenizer_;
  std::string pending_;
};

}  // namespace fathom
