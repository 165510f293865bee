#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "base/strong_types.h"
#include "text/added_tokens.h"
#include "text/json_node.h"
#include "text/tokenizer_parts.h"

namespace fathom {

// What the stages of a tokenizer.json say. Each reader throws FileError that names what is wrong or
// not supported.

/// Of "normalizer", if it is there.
std::vector<NormalizerStep> read_normalizer(const JsonNode& root);

struct PreTokenizerJson {
  std::vector<PreTokenizerStage> stages;
  TokenizerParts::Alphabet alphabet;  ///< bytes if ByteLevel is among the stages
};
/// Of "pre_tokenizer", if it is there.
PreTokenizerJson read_pre_tokenizer(const JsonNode& root);

/// Of "decoder", which must be there.
DecoderRules read_decoder(const JsonNode& root);

/// The token that "post_processor" puts before a text, if it does.
std::optional<TokenId> read_beginning_of_text(const JsonNode& root, std::size_t vocabulary_size);

/// A token that is found in texts, all of it but its id: {"content": ..., "special": ..., ...}.
AddedToken read_added_token(const JsonNode& node);

/// A token that a file declares beside or inside the vocabulary, to be found in texts.
struct DeclaredToken {
  JsonNode node;          ///< for errors
  std::string_view text;  ///< must live until build()
  std::size_t id = 0;     ///< as the file says; not checked
  AddedToken flags;       ///< its id is set when it is checked
};

/// Fills the vocabulary from an object of ids by text, and with the declared tokens that it does
/// not hold. Throws FileError if an id has two tokens or none.
void read_vocabulary(TokenizerParts& parts, const JsonNode& vocabulary,
                     std::vector<DeclaredToken> declared);

/// A larger file is no tokenizer's.
inline constexpr std::size_t largest_tokenizer_file = std::size_t{256} << 20U;

/// Everything that a tokenizer.json says. The parts' views point into `root`'s value.
TokenizerParts read_tokenizer_json(const JsonNode& root);

}  // namespace fathom
