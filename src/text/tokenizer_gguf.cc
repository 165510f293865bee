#include "text/tokenizer_gguf.h"

#include <array>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";
constexpr std::string_view types_key = "tokenizer.ggml.token_type";
constexpr std::string_view merges_key = "tokenizer.ggml.merges";
constexpr std::string_view scores_key = "tokenizer.ggml.scores";

using Alphabet = TokenizerParts::Alphabet;

TokenId id_of(std::size_t index) { return TokenId(static_cast<std::int32_t>(index)); }

/// Kinds of pre-tokenizers of byte-level files.
enum class Family { gpt2, smollm, llama3, qwen2, tekken };

struct FamilyName {
  std::string_view name;
  Family family;
};
/// llama.cpp's names, of each family first the one that is written. "opt" is our own: OPT cuts
/// texts as GPT-2 does.
constexpr std::array family_names = {FamilyName{"gpt-2", Family::gpt2},
                                     FamilyName{"gpt2", Family::gpt2},
                                     FamilyName{"default", Family::gpt2},
                                     FamilyName{"opt", Family::gpt2},
                                     FamilyName{"smollm", Family::smollm},
                                     FamilyName{"starcoder", Family::smollm},
                                     FamilyName{"llama-bpe", Family::llama3},
                                     FamilyName{"llama3", Family::llama3},
                                     FamilyName{"llama-v3", Family::llama3},
                                     FamilyName{"qwen2", Family::qwen2},
                                     FamilyName{"deepseek-r1-qwen", Family::qwen2},
                                     FamilyName{"tekken", Family::tekken}};

Family family_named(const GgufFile& file) {
  constexpr std::string_view key = "tokenizer.ggml.pre";
  const std::string* const name = file.find_string(key);
  if (name == nullptr) return Family::gpt2;
  for (const FamilyName& known : family_names) {
    if (known.name == *name) return known.family;
  }
  throw FileError(file.path(), key,
                  fmt::format("the pre-tokenizer {} is not supported; those that are: gpt-2, "
                              "smollm, llama-bpe, qwen2, tekken",
                              printable_name(*name)));
}

void set_family(TokenizerParts& parts, Family family) {
  using WholeWords = TokenizerParts::WholeWords;
  switch (family) {
    case Family::gpt2:
      parts.pre_tokenizer = {SplitStage{gpt2_pattern()}};
      break;
    case Family::smollm:
      parts.pre_tokenizer = {DigitsStage{}, SplitStage{gpt2_pattern()}};
      break;
    case Family::llama3:
      parts.pre_tokenizer = {SplitStage{llama3_pattern()}};
      parts.whole_words = WholeWords::look_up_first;
      break;
    case Family::qwen2:
      parts.pre_tokenizer = {SplitStage{qwen2_pattern()}};
      parts.normalizer = {NfcStep{}};
      break;
    case Family::tekken:
      parts.pre_tokenizer = {SplitStage{tekken_pattern()}};
      parts.whole_words = WholeWords::look_up_first;
      break;
  }
}

/// Reads tokens and what kind each is.
void set_tokens(TokenizerParts& parts, const GgufFile& file) {
  const std::vector<std::string>& tokens = file.require_strings(tokens_key);
  const auto types = file.find_integers(types_key);
  if (types && types->size() != tokens.size()) {
    throw FileError(file.path(), types_key,
                    fmt::format("{} types for {} tokens", types->size(), tokens.size()));
  }
  parts.vocabulary.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::int64_t type = types ? (*types)[i] : gguf_token_type::normal;
    const auto fail = [&](std::string_view problem) {
      throw FileError(file.path(), fmt::format("{}[{}]", types_key, i), problem);
    };
    if (type < gguf_token_type::normal || type > gguf_token_type::byte)
      fail(fmt::format("type {}, which is none of 1 to 6", type));
    if (type == gguf_token_type::byte && parts.alphabet == Alphabet::bytes) {
      fail("a byte token, which a byte-level BPE does not have");
    }
    if (type == gguf_token_type::byte && !byte_named_by(tokens[i])) {
      fail(fmt::format("a byte token with the text {}, \"<0x00>\" to \"<0xFF>\" expected",
                       printable_name(tokens[i])));
    }
    const bool special = type == gguf_token_type::control || type == gguf_token_type::unknown;
    parts.vocabulary.push_back({tokens[i], !special});
    if (type == gguf_token_type::unknown && !parts.unknown.token) parts.unknown.token = id_of(i);
    if (!special && type != gguf_token_type::user_defined) continue;
    if (tokens[i].empty()) fail("a control, unknown or user-defined token without text");
    AddedToken token;
    token.content = tokens[i];
    token.id = id_of(i);
    token.special = special;
    parts.added.push_back(std::move(token));
  }
}

TokenizerParts::Merges read_merges(const GgufFile& file) {
  const std::vector<std::string>& merges = file.require_strings(merges_key);
  TokenizerParts::Merges result;
  result.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto merge = split_merge(merges[i]);
    if (!merge) {
      throw FileError(file.path(), fmt::format("{}[{}]", merges_key, i),
                      "not two tokens with a space between");
    }
    result.push_back(*merge);
  }
  return result;
}

TokenizerParts::Scores read_scores(const GgufFile& file) {
  const auto found = file.metadata().find(scores_key);
  if (found == file.metadata().end()) {
    throw FileError(file.path(), scores_key, "missing; the tokenizer llama has a score a token");
  }
  const auto* const scores = std::get_if<std::vector<double>>(&found->second);
  if (scores == nullptr) throw FileError(file.path(), scores_key, "not an array of floats");
  return *scores;
}

SpacePrefix read_space_prefix(const GgufFile& file) {
  constexpr std::string_view extra_key = "tokenizer.ggml.remove_extra_whitespaces";
  if (file.find_bool(extra_key).value_or(false)) {
    throw FileError(file.path(), extra_key, "true is not supported");
  }
  const bool prefix = file.find_bool("tokenizer.ggml.add_space_prefix").value_or(true);
  return prefix ? SpacePrefix::yes : SpacePrefix::no;
}

std::optional<TokenId> token_at(const GgufFile& file, std::string_view key, std::size_t count) {
  const auto id = file.find_unsigned(key);
  if (!id) return std::nullopt;
  if (*id >= count) {
    throw FileError(file.path(), key, fmt::format("token {} of a vocabulary of {}", *id, count));
  }
  return id_of(*id);
}

/// Whether a token begins texts in files that do not say.
enum class BeginningByDefault { no, if_named };

void set_beginning_of_text(TokenizerParts& parts, const GgufFile& file,
                           BeginningByDefault otherwise) {
  constexpr std::string_view id_key = "tokenizer.ggml.bos_token_id";
  constexpr std::string_view add_key = "tokenizer.ggml.add_bos_token";
  constexpr std::string_view add_end_key = "tokenizer.ggml.add_eos_token";
  const auto id = token_at(file, id_key, parts.vocabulary.size());
  (void)token_at(file, "tokenizer.ggml.eos_token_id", parts.vocabulary.size());
  if (file.find_bool(add_end_key).value_or(false)) {
    throw FileError(file.path(), add_end_key, "true: a token after every text is not supported");
  }
  const bool by_default = otherwise == BeginningByDefault::if_named && id.has_value();
  if (!file.find_bool(add_key).value_or(by_default)) return;
  if (!id) throw FileError(file.path(), add_key, fmt::format("true, but there is no {}", id_key));
  parts.beginning_of_text = id;
}

TokenizerParts byte_level_parts(const GgufFile& file) {
  const Family family = family_named(file);
  TokenizerParts parts;
  parts.merges_place = merges_key;
  set_family(parts, family);
  set_tokens(parts, file);
  parts.unknown.token = std::nullopt;  // a byte without a token is dropped
  parts.merges = read_merges(file);
  // Files made before add_bos_token existed leave it out.
  const bool begins = family == Family::llama3 || family == Family::tekken;
  set_beginning_of_text(parts, file,
                        begins ? BeginningByDefault::if_named : BeginningByDefault::no);
  return parts;
}

TokenizerParts sentencepiece_parts(const GgufFile& file) {
  TokenizerParts parts;
  parts.merges_place = scores_key;
  set_sentencepiece(parts, read_space_prefix(file));
  set_tokens(parts, file);
  const auto unknown = token_at(file, "tokenizer.ggml.unknown_token_id", parts.vocabulary.size());
  if (unknown) parts.unknown.token = unknown;
  parts.merges = read_scores(file);
  set_beginning_of_text(parts, file, BeginningByDefault::if_named);
  return parts;
}

}  // namespace

void set_sentencepiece(TokenizerParts& parts, SpacePrefix prefix) {
  const std::string space(sentencepiece_space);
  parts.alphabet = Alphabet::characters;
  parts.unknown.bytes = TokenizerParts::Unknown::Bytes::tokens;
  parts.unknown.runs = TokenizerParts::Unknown::Runs::fused;
  parts.decoder.tokens = DecoderRules::Tokens::characters_or_byte;
  parts.decoder.replacements = {{space, " "}};
  if (prefix == SpacePrefix::yes) {
    parts.normalizer.emplace_back(PrependStep{space});
    parts.decoder.strip = DecoderRules::Strip{" ", 1};
  }
  parts.normalizer.emplace_back(Replacement{" ", space});
}

std::optional<GgufPreTokenizer> gguf_pre_tokenizer(const TokenizerParts& parts) {
  const auto likeness = [&](const auto& other) {
    return 2 * static_cast<int>(other.normalizer == parts.normalizer) +
           static_cast<int>(other.whole_words == parts.whole_words);
  };
  std::optional<GgufPreTokenizer> best;
  for (const FamilyName& known : family_names) {
    TokenizerParts family;
    set_family(family, known.family);
    if (family.pre_tokenizer != parts.pre_tokenizer) continue;
    if (best && likeness(family) <= likeness(*best)) continue;
    best = {known.name, std::move(family.normalizer), family.whole_words};
  }
  return best;
}

Tokenizer Tokenizer::from_gguf(const GgufFile& file) {
  constexpr std::string_view model_key = "tokenizer.ggml.model";
  const std::string& model = file.require_string(model_key);
  if (model != "gpt2" && model != "llama") {
    throw FileError(file.path(), model_key,
                    fmt::format("the tokenizer {} is not supported, only gpt2 (byte-level BPE) and "
                                "llama (SentencePiece)",
                                printable_name(model)));
  }
  TokenizerParts parts = model == "gpt2" ? byte_level_parts(file) : sentencepiece_parts(file);
  parts.file = file.path();
  parts.tokens_place = tokens_key;
  return build(std::move(parts));
}

}  // namespace fathom
