#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_types.h"
#include "formats/gguf.h"

namespace fathom {

/// What to do with the text of special tokens ("<|im_end|>") inside a text to encode.
enum class SpecialTokens {
  recognize,  ///< it becomes the special token
  as_text,    ///< it is text like any other
};

/// A byte-level BPE tokenizer. A value that is cheap to move and safe to use from many threads.
class Tokenizer {
 public:
  /// From the tokenizer.ggml.* metadata of a GGUF file. Throws FileError on metadata that is
  /// missing, inconsistent or of a kind that is not supported (which it names).
  static Tokenizer from_gguf(const GgufFile& file);
  /// From a Hugging Face tokenizer.json. Throws FileError likewise.
  static Tokenizer from_json(const std::filesystem::path& path);

  /// Encodes text exactly as Hugging Face tokenizers do without adding a prefix or suffix.
  /// Bytes that are not UTF-8 become U+FFFD each... see tokenizer.cc for the rule.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text, SpecialTokens special) const;

  /// The text of tokens, special tokens included; bytes that are no UTF-8 become U+FFFD, as
  /// Hugging Face decodes them. Throws InputError if an id is outside the vocabulary.
  [[nodiscard]] std::string decode(std::span<const TokenId> tokens) const;

  /// The bytes that one token stands for; they need not be whole characters.
  [[nodiscard]] std::string_view bytes(TokenId token) const;
  [[nodiscard]] bool is_special(TokenId token) const;
  /// The id of a token by its text as the vocabulary's owner writes it ("<|im_end|>").
  [[nodiscard]] std::optional<TokenId> find(std::string_view text) const;
  [[nodiscard]] std::size_t vocabulary_size() const;

  struct Data;

 private:
  explicit Tokenizer(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

/// Decodes a stream of tokens into text that never cuts a character: bytes of an unfinished
/// character wait for the next token. The pieces and the flush together equal Tokenizer::decode.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  /// The text that became complete with this token; may be empty.
  std::string push(TokenId token);
  /// What was left unfinished, as U+FFFD.
  std::string flush();

 private:
  Tokenizer tokenizer_;
  std::string pending_;
};

}  // namespace fathom
