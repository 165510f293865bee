#pragma once

#include <array>
#include <optional>
#include <vector>

#include "base/strong_types.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_table.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace fathom {

/// A tokenizer ready for use: its parts with what is looked up made quick to find.
struct Tokenizer::Data {
  /// Throws as build() does.
  explicit Data(TokenizerParts parts);

  TokenTexts texts;  // as the file writes them
  TokenTexts bytes;  // what they stand for
  TokenIndex index;
  std::vector<bool> names_byte;  // by id: TokenMeaning::Kind::byte
  std::vector<bool> in_model;
  std::vector<bool> special;

  TokenizerParts::Alphabet alphabet;
  /// Of the byte alphabet; for an alphabet of characters the tokens "<0x41>", none if they are not
  /// to be used.
  std::array<std::optional<TokenId>, 256> token_of_byte;
  std::array<std::optional<TokenId>, 128> token_of_ascii;  // for an alphabet of characters
  std::optional<TokenId> unknown;
  TokenizerParts::Unknown::Runs unknown_runs;

  MergeTable merges;
  Joints joints;  // for an alphabet of characters
  AddedTokenFinder added;
  AddedTokenFinder added_normalized;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenizerParts::WholeWords whole_words;
  DecoderRules decoder;
  std::optional<TokenId> beginning_of_text;

  /// The id of a token that merges may make or a word may be.
  [[nodiscard]] std::optional<TokenId> find_in_model(std::string_view text) const;
  /// Whether a token stands for text or for one byte of a run.
  [[nodiscard]] TokenMeaning::Kind kind_of(TokenId token) const;

 private:
  void add_tokens(const TokenizerParts& parts);
  void add_alphabet(const TokenizerParts& parts);
  void add_merges(const TokenizerParts& parts, const TokenizerParts::Merges& list);
  void add_merges(const TokenizerParts& parts, const TokenizerParts::Scores& scores);
  void add_joint(std::string_view left, std::string_view right);
};

}  // namespace fathom
