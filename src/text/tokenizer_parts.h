#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/strong_types.h"
#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace fathom {

/// What a tokenizer is made of, as a file names it. The views need only live until build().
struct TokenizerParts {
  struct Entry {
    std::string_view text;
    /// Whether merges and ignore_merges may make it, rather than it being only an added token.
    bool in_model = true;
  };
  struct Merge {
    std::string_view left;
    std::string_view right;
  };
  /// By rank: what is listed earlier joins first.
  using Merges = std::vector<Merge>;
  /// By id: two tokens join wherever their texts together are the text of a token of the model, the
  /// one of the highest score first.
  using Scores = std::vector<double>;

  /// What a word is before anything is merged.
  enum class Alphabet {
    bytes,       ///< its bytes; tokens write each as a character of the byte alphabet
    characters,  ///< its characters
  };
  enum class WholeWords {
    merge,          ///< a word is what its merges make of it
    look_up_first,  ///< a word that the vocabulary holds is that token ("ignore_merges")
  };
  /// What becomes of a byte or character that has no token of its own.
  struct Unknown {
    enum class Bytes {
      no_tokens,
      tokens,  ///< the tokens "<0x41>" of its bytes, if all of them are in the vocabulary
    } bytes = Bytes::no_tokens;
    std::optional<TokenId> token;  ///< otherwise this; it is dropped if there is none
    enum class Runs {
      one_each,
      fused,  ///< one token for all that stand together
    } runs = Runs::one_each;
  };

  std::string file;          ///< for errors
  std::string tokens_place;  ///< where in the file, for errors
  std::string merges_place;
  std::vector<Entry> vocabulary;  ///< by id
  std::variant<Merges, Scores> merges;
  std::vector<AddedToken> added;  ///< ids in the vocabulary; its texts are theirs
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStage> pre_tokenizer;
  Alphabet alphabet = Alphabet::bytes;
  Unknown unknown;
  WholeWords whole_words = WholeWords::merge;
  DecoderRules decoder;
  std::optional<TokenId> beginning_of_text;
};

/// Throws FileError if a token comes twice, a merge names or makes a token that is not in the
/// vocabulary, or there are more tokens than ids.
Tokenizer build(TokenizerParts parts);

/// Splits "left right". Nullopt unless there is exactly one space with something on both sides.
std::optional<TokenizerParts::Merge> split_merge(std::string_view text);

}  // namespace fathom
