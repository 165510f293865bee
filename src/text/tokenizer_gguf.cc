#include <array>
#include <cstdint>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace fathom {
namespace {

constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";
constexpr std::string_view types_key = "tokenizer.ggml.token_type";
constexpr std::string_view merges_key = "tokenizer.ggml.merges";

enum class Family { gpt2, smollm, llama3, qwen2 };

/// The first name of each is the one that is written.
struct FamilyName {
  std::string_view name;
  Family family;
};
constexpr std::array<FamilyName, 10> family_names = {{{"gpt-2", Family::gpt2},
                                                      {"gpt2", Family::gpt2},
                                                      {"default", Family::gpt2},
                                                      {"smollm", Family::smollm},
                                                      {"starcoder", Family::smollm},
                                                      {"llama-bpe", Family::llama3},
                                                      {"llama3", Family::llama3},
                                                      {"llama-v3", Family::llama3},
                                                      {"qwen2", Family::qwen2},
                                                      {"deepseek-r1-qwen", Family::qwen2}}};

Family family_named(const GgufFile& file) {
  constexpr std::string_view key = "tokenizer.ggml.pre";
  const std::string* const name = file.find_string(key);
  if (name == nullptr) return Family::gpt2;
  for (const FamilyName& known : family_names) {
    if (known.name == *name) return known.family;
  }
  throw FileError(file.path(), key,
                  fmt::format("the pre-tokenizer {} is not supported; those that are: gpt-2, "
                              "smollm, llama-bpe, qwen2",
                              printable_name(*name)));
}

void set_family(TokenizerParts& parts, Family family) {
  using Normalization = TokenizerParts::Normalization;
  switch (family) {
    case Family::gpt2:
      parts.pre_tokenizer = {SplitStage{gpt2_pattern()}};
      break;
    case Family::smollm:
      parts.pre_tokenizer = {DigitsStage{}, SplitStage{gpt2_pattern()}};
      break;
    case Family::llama3:
      parts.pre_tokenizer = {SplitStage{llama3_pattern()}};
      parts.whole_words = TokenizerParts::WholeWords::look_up_first;
      break;
    case Family::qwen2:
      parts.pre_tokenizer = {SplitStage{qwen2_pattern()}};
      parts.normalization = Normalization::nfc;
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
    if (type == gguf_token_type::byte) fail("a byte token, which a byte-level BPE does not have");
    parts.vocabulary.push_back({tokens[i], type != gguf_token_type::control});
    if (type != gguf_token_type::control && type != gguf_token_type::user_defined) continue;
    if (tokens[i].empty()) fail("a control or user-defined token without text");
    AddedToken token;
    token.content = tokens[i];
    token.id = TokenId(static_cast<std::int32_t>(i));
    token.special = type == gguf_token_type::control;
    parts.added.push_back(std::move(token));
  }
}

void set_merges(TokenizerParts& parts, const GgufFile& file) {
  const std::vector<std::string>& merges = file.require_strings(merges_key);
  parts.merges.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto merge = split_merge(merges[i]);
    if (!merge) {
      throw FileError(file.path(), fmt::format("{}[{}]", merges_key, i),
                      "not two tokens with a space between");
    }
    parts.merges.push_back(*merge);
  }
}

std::optional<TokenId> token_at(const GgufFile& file, std::string_view key, std::size_t count) {
  const auto id = file.find_unsigned(key);
  if (!id) return std::nullopt;
  if (*id >= count) {
    throw FileError(file.path(), key, fmt::format("token {} of a vocabulary of {}", *id, count));
  }
  return TokenId(static_cast<std::int32_t>(*id));
}

void set_beginning_of_text(TokenizerParts& parts, const GgufFile& file, Family family) {
  constexpr std::string_view id_key = "tokenizer.ggml.bos_token_id";
  constexpr std::string_view add_key = "tokenizer.ggml.add_bos_token";
  const auto id = token_at(file, id_key, parts.vocabulary.size());
  (void)token_at(file, "tokenizer.ggml.eos_token_id", parts.vocabulary.size());
  // Files of Llama 3 made before the key existed leave it out.
  const bool add = file.find_bool(add_key).value_or(family == Family::llama3 && id.has_value());
  if (!add) return;
  if (!id) throw FileError(file.path(), add_key, fmt::format("true, but there is no {}", id_key));
  parts.beginning_of_text = id;
}

}  // namespace

std::optional<GgufPreTokenizer> gguf_pre_tokenizer(const TokenizerParts& parts) {
  const auto likeness = [&](const auto& other) {
    return 2 * static_cast<int>(other.normalization == parts.normalization) +
           static_cast<int>(other.whole_words == parts.whole_words);
  };
  std::optional<GgufPreTokenizer> best;
  for (const FamilyName& known : family_names) {
    TokenizerParts family;
    set_family(family, known.family);
    if (family.pre_tokenizer != parts.pre_tokenizer) continue;
    if (best && likeness(family) <= likeness(*best)) continue;
    best = {known.name, family.normalization, family.whole_words};
  }
  return best;
}

Tokenizer Tokenizer::from_gguf(const GgufFile& file) {
  constexpr std::string_view model_key = "tokenizer.ggml.model";
  const std::string& model = file.require_string(model_key);
  if (model != "gpt2") {
    throw FileError(file.path(), model_key,
                    fmt::format("the tokenizer {} is not supported, only gpt2 (byte-level BPE)",
                                printable_name(model)));
  }
  const Family family = family_named(file);
  TokenizerParts parts;
  parts.file = file.path();
  parts.tokens_place = tokens_key;
  parts.merges_place = merges_key;
  set_family(parts, family);
  set_tokens(parts, file);
  set_merges(parts, file);
  set_beginning_of_text(parts, file, family);
  return build(std::move(parts));
}

}  // namespace fathom
