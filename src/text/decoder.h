#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/replacement.h"

namespace fathom {

/// How the tokens of a vocabulary become text.
struct DecoderRules {
  enum class Tokens {
    byte_alphabet,      ///< each character of a token stands for a byte
    characters,         ///< tokens are text
    characters_or_byte  ///< tokens are text, but "<0x41>" is the byte 0x41
  } tokens = Tokens::byte_alphabet;
  std::vector<Replacement> replacements;  ///< in the text of each token
  /// Left out at the beginning of the text: up to `most` times `text`.
  struct Strip {
    std::string text;
    std::size_t most = 0;
    friend bool operator==(const Strip&, const Strip&) = default;
  };
  std::optional<Strip> strip;
  std::string not_in_first;  ///< if not empty: left out of the first token, before replacements
  friend bool operator==(const DecoderRules&, const DecoderRules&) = default;
};

/// What a token stands for.
struct TokenMeaning {
  std::string bytes;
  enum class Kind {
    text,  ///< `bytes` is a part of the text
    byte,  ///< one byte of a run that together must be UTF-8
  } kind = Kind::text;
};

/// What a token of a file stands for when it is not the first of a text.
TokenMeaning meaning_of(std::string_view token, const DecoderRules& rules);
/// When it is the first.
TokenMeaning meaning_of_first(std::string_view token, const DecoderRules& rules);

/// The byte that a token "<0x41>" names, or nullopt. Hexadecimal digits of either case.
std::optional<std::uint8_t> byte_named_by(std::string_view token);

/// Makes text of tokens that come one by one. Text comes out as soon as no later token can change
/// it: an unfinished character waits, and so does a run of byte tokens until it ends, since one
/// byte that is no UTF-8 turns all bytes of its run into U+FFFD.
class DecodingState {
 public:
  explicit DecodingState(const DecoderRules& rules);

  /// Whether no token came yet.
  [[nodiscard]] bool at_start() const { return at_start_; }
  /// The text that became complete; may be empty.
  std::string push(std::string_view bytes, TokenMeaning::Kind kind, const DecoderRules& rules);
  /// What was left unfinished. The next push begins a new text.
  std::string flush(const DecoderRules& rules);

 private:
  std::string end_run();
  std::string without_strip(std::string text, const DecoderRules& rules);

  bool at_start_ = true;
  std::size_t strip_left_ = 0;
  std::string pending_;  // of a character, or of a run of byte tokens
};

}  // namespace fathom
