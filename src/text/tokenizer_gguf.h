#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer_parts.h"

namespace fathom {

/// The values of tokenizer.ggml.token_type.
namespace gguf_token_type {
inline constexpr std::int32_t normal = 1;
inline constexpr std::int32_t unknown = 2;
inline constexpr std::int32_t control = 3;       // special
inline constexpr std::int32_t user_defined = 4;  // added, not special
inline constexpr std::int32_t unused = 5;
inline constexpr std::int32_t byte = 6;
}  // namespace gguf_token_type

/// What a value of tokenizer.ggml.pre stands for, besides how texts are cut.
struct GgufPreTokenizer {
  std::string_view name;
  std::vector<NormalizerStep> normalizer;
  TokenizerParts::WholeWords whole_words;
};

/// SentencePiece writes a space as this character.
inline constexpr std::string_view sentencepiece_space = "\u2581";

/// Whether files of SentencePiece's kind put a space before a text
/// (tokenizer.ggml.add_space_prefix).
enum class SpacePrefix { no, yes };
/// Sets what such a file does before it merges, what it does with unknown characters, and how it
/// decodes.
void set_sentencepiece(TokenizerParts& parts, SpacePrefix prefix);

/// The one that cuts texts as `parts`, which must be byte-level, do, if there is one; of several
/// the one that is most like them in the rest.
std::optional<GgufPreTokenizer> gguf_pre_tokenizer(const TokenizerParts& parts);

}  // namespace fathom
