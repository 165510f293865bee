#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/strong_types.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/special_tokens.h"
#include "text/tokenizer_data.h"

namespace fathom {

/// Encodes one text: the memory and the matchers that its pieces share. Must not outlive the data.
class Encoder {
 public:
  explicit Encoder(const Tokenizer::Data& data) : data_(data), cutter_(data.pre_tokenizer) {}

  /// `text` is UTF-8.
  std::vector<TokenId> encode(std::string_view text, SpecialTokens special);

 private:
  void encode_normalized(std::string_view text, SpecialTokens special, TextPlace place);
  void encode_word(std::string_view word);
  void add_bytes(std::string_view word);
  void add_characters(std::string_view word);
  /// The tokens "<0x41>" of a character's bytes. False, and nothing is added, unless all are there.
  bool add_byte_tokens(std::string_view character);
  void add_unknown();
  void end_unknown();
  /// The characters at the ends of a token's text.
  struct Ends {
    char32_t first;
    char32_t last;
  };
  void add(TokenId token, Ends ends);
  void merge();

  const Tokenizer::Data& data_;
  PreTokenizer::Cutter cutter_;
  PairMerger merger_;
  std::string characters_;
  std::vector<TokenId> symbols_;  // of the word, not yet merged
  char32_t last_character_ = 0;   // of the last of them
  bool unknown_waits_ = false;    // to be added before the next symbol
  std::vector<TokenId> tokens_;
};

}  // namespace fathom
