#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/strong_types.h"
#include "text/added_tokens.h"
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
  enum class Normalization { none, nfc };
  enum class WholeWords {
    merge,          ///< a word is what its merges make of it
    look_up_first,  ///< a word that the vocabulary holds is that token ("ignore_merges")
  };
  enum class MissingBytes {
    drop,    ///< a byte of a text that has no token is dropped
    refuse,  ///< the vocabulary must have a token for every byte that UTF-8 can hold
  };

  std::string file;          ///< for errors
  std::string tokens_place;  ///< where in the file, for errors
  std::string merges_place;
  std::vector<Entry> vocabulary;  ///< by id
  std::vector<Merge> merges;      ///< by rank
  std::vector<AddedToken> added;  ///< ids in the vocabulary; its texts are theirs
  std::vector<PreTokenizerStage> pre_tokenizer;
  Normalization normalization = Normalization::none;
  WholeWords whole_words = WholeWords::merge;
  MissingBytes missing_bytes = MissingBytes::drop;
  std::optional<TokenId> beginning_of_text;
};

inline constexpr std::size_t largest_tokenizer_json = std::size_t{256} << 20U;

/// What a tokenizer.json says; the parts are views of `json`. Throws FileError as
/// Tokenizer::from_json does.
TokenizerParts parts_of_json(const nlohmann::json& json, const std::string& file);

/// What a value of tokenizer.ggml.pre stands for, besides how texts are cut.
struct GgufPreTokenizer {
  std::string_view name;
  TokenizerParts::Normalization normalization;
  TokenizerParts::WholeWords whole_words;
};
/// The one that cuts texts as `parts` do, if there is one; of several the one that is most like
/// them in the rest.
std::optional<GgufPreTokenizer> gguf_pre_tokenizer(const TokenizerParts& parts);

/// Whether the merges make every token of the model but special ones out of its bytes. Then it does
/// not matter whether whole words are looked up first.
bool merges_make_all_tokens(const Tokenizer& tokenizer);

/// The values of tokenizer.ggml.token_type.
namespace gguf_token_type {
inline constexpr std::int32_t normal = 1;
inline constexpr std::int32_t control = 3;       // special
inline constexpr std::int32_t user_defined = 4;  // added, not special
inline constexpr std::int32_t unused = 5;
inline constexpr std::int32_t byte = 6;
}  // namespace gguf_token_type

/// Throws FileError if a token comes twice, a merge names or makes a token that is not in the
/// vocabulary, bytes are missing that must not, or there are more tokens than ids.
Tokenizer build(TokenizerParts parts);

/// Splits "left right". Nullopt unless there is exactly one space with something on both sides.
std::optional<TokenizerParts::Merge> split_merge(std::string_view text);

}  // namespace fathom
