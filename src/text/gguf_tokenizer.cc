#include "text/gguf_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/merge_scores.h"
#include "text/tokenizer_data.h"
#include "text/tokenizer_folder.h"
#include "text/tokenizer_gguf.h"

namespace fathom {
namespace {

void add_vocabulary(GgufTokenizer& result, const TokenizerParts& parts, std::size_t vocabulary) {
  for (const TokenizerParts::Entry& entry : parts.vocabulary) {
    result.tokens.emplace_back(entry.text);
    result.types.push_back(gguf_token_type::normal);
  }
  std::vector<std::string> inexact;
  for (const AddedToken& token : parts.added) {
    result.types[token.id.index()] =
        token.special ? gguf_token_type::control : gguf_token_type::user_defined;
    if (token.lstrip || token.rstrip || token.single_word) {
      inexact.push_back(printable_name(token.content));
    }
  }
  if (!inexact.empty()) {
    result.notes.push_back(
        fmt::format("GGUF cannot say that {} take white space or stand alone as words",
                    fmt::join(inexact, ", ")));
  }
  if (result.tokens.size() >= vocabulary) return;
  const std::set<std::string_view> taken(result.tokens.begin(), result.tokens.end());
  std::vector<std::string> padding;
  for (std::size_t id = result.tokens.size(); id < vocabulary; ++id) {
    std::string name = fmt::format("[PAD{}]", id);
    while (taken.contains(name)) name += '_';
    padding.push_back(std::move(name));
  }
  result.tokens.insert(result.tokens.end(), padding.begin(), padding.end());
  result.types.resize(result.tokens.size(), gguf_token_type::unused);
}

void add_merges(GgufTokenizer& result, const TokenizerParts& parts) {
  const auto& merges = std::get<TokenizerParts::Merges>(parts.merges);
  result.merges.reserve(merges.size());
  for (const auto& [left, right] : merges) {
    std::string merge = fmt::format("{} {}", left, right);
    if (!split_merge(merge)) {
      throw FileError(parts.file, fmt::format("{}[{}]", parts.merges_place, result.merges.size()),
                      fmt::format("the merge {} has a token that is empty or holds a space, which "
                                  "GGUF cannot say",
                                  printable_name(merge)));
    }
    result.merges.push_back(std::move(merge));
  }
}

/// Whether the merges make every token of the model but special ones out of its bytes. Then it does
/// not matter whether whole words are looked up first.
bool merges_make_all_tokens(const Tokenizer::Data& data) {
  PairMerger merger;
  std::vector<TokenId> symbols;
  for (TokenId id; id.index() < data.texts.size(); ++id) {
    if (!data.in_model[id.index()] || data.special[id.index()]) continue;
    symbols.clear();
    for (const char byte : data.bytes[id]) {
      const auto& token = data.token_of_byte[static_cast<std::uint8_t>(byte)];
      if (!token) return false;
      symbols.push_back(*token);
    }
    merger.merge(data.merges, symbols);
    if (symbols.size() != 1 || symbols.front() != id) return false;
  }
  return true;
}

/// Throws FileError on a decoder that the metadata of byte-level files has no words for.
void check_byte_level_decoder(const TokenizerParts& parts) {
  if (parts.decoder != DecoderRules{}) {
    throw FileError(parts.file, "decoder", "not ByteLevel, which GGUF cannot say");
  }
}

bool has_every_byte_of_utf8(const Tokenizer::Data& data) {
  for (std::size_t byte = 0; byte < data.token_of_byte.size(); ++byte) {
    const bool in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
    if (in_utf8 && !data.token_of_byte[byte]) return false;
  }
  return true;
}

GgufTokenizer byte_level(const TokenizerParts& parts, std::size_t vocabulary) {
  check_byte_level_decoder(parts);
  const std::optional<GgufPreTokenizer> pre = gguf_pre_tokenizer(parts);
  if (!pre) {
    throw FileError(parts.file, "pre_tokenizer", "GGUF has no name for how it cuts texts");
  }
  const Tokenizer tokenizer = build(parts);
  if (pre->whole_words != parts.whole_words && !merges_make_all_tokens(tokenizer.data())) {
    throw FileError(parts.file, "model.ignore_merges",
                    fmt::format("not as in GGUF's pre-tokenizer {}, and it matters: there are "
                                "tokens that no merge makes",
                                pre->name));
  }
  if (parts.unknown.token && !has_every_byte_of_utf8(tokenizer.data())) {
    throw FileError(parts.file, "model.unk_token",
                    "it stands for bytes that have no token, which GGUF cannot say");
  }
  GgufTokenizer result;
  if (pre->normalizer != parts.normalizer) {
    result.notes.push_back(fmt::format(
        "the normalizer is not that of GGUF's pre-tokenizer {}: texts that are not in Unicode's "
        "composed form (NFC) may become other tokens",
        pre->name));
  }
  result.model = "gpt2";
  result.pre_tokenizer = pre->name;
  result.beginning = parts.beginning_of_text;
  result.unknown = parts.unknown.token;
  add_vocabulary(result, parts, vocabulary);
  add_merges(result, parts);
  return result;
}

// ---- SentencePiece's kind ----------------------------------------------------------------------

/// A prefix, and whether GGUF's is put in the very same places.
struct FoundPrefix {
  SpacePrefix prefix = SpacePrefix::no;
  enum class Places { same, others } places = Places::same;
};

/// How the file writes spaces. Nullopt if GGUF has no words for it.
std::optional<FoundPrefix> find_prefix(const TokenizerParts& parts) {
  using Places = FoundPrefix::Places;
  for (const SpacePrefix prefix : {SpacePrefix::no, SpacePrefix::yes}) {
    TokenizerParts said;
    set_sentencepiece(said, prefix);
    if (said.normalizer != parts.normalizer) continue;
    // Gemma's cuts at spaces, of which none is left.
    const SplitStage at_spaces{Pattern::literal(" "), SplitStage::Behavior::merged_with_previous};
    const bool cuts_nothing = parts.pre_tokenizer.empty() ||
                              parts.pre_tokenizer == std::vector<PreTokenizerStage>{at_spaces};
    return cuts_nothing ? std::optional(FoundPrefix{prefix, Places::same}) : std::nullopt;
  }
  if (!parts.normalizer.empty() || parts.pre_tokenizer.size() != 1) return std::nullopt;
  const auto* const stage = std::get_if<MetaspaceStage>(&parts.pre_tokenizer.front());
  if (stage == nullptr || stage->space != sentencepiece_space ||
      stage->cut != MetaspaceStage::Cut::nowhere) {
    return std::nullopt;
  }
  if (stage->prefix == MetaspaceStage::Prefix::never) return FoundPrefix{};
  return FoundPrefix{SpacePrefix::yes, Places::others};
}

/// Throws FileError if some bytes have no tokens and GGUF's way with them is another.
void check_unknown(const TokenizerParts& parts, const TokenizerParts& said) {
  std::set<std::uint8_t> bytes;
  for (const TokenizerParts::Entry& entry : parts.vocabulary) {
    if (const auto byte = byte_named_by(entry.text); byte && entry.in_model) bytes.insert(*byte);
  }
  const bool alike = parts.unknown.bytes == said.unknown.bytes;
  if (alike && bytes.size() == 256) return;  // nothing is unknown
  if ((alike || bytes.empty()) &&
      (parts.unknown.runs == said.unknown.runs || !parts.unknown.token)) {
    return;
  }
  throw FileError(parts.file, "model.byte_fallback",
                  "what it and fuse_unk say of unknown characters GGUF cannot say");
}

/// Tokens that have a type of their own in files of this kind.
void set_sentencepiece_types(GgufTokenizer& result, const TokenizerParts& parts) {
  const float least = std::ranges::min(result.scores);  // of what no merge makes
  for (std::size_t id = 0; id < parts.vocabulary.size(); ++id) {
    const TokenizerParts::Entry& entry = parts.vocabulary[id];
    std::int32_t& type = result.types[id];
    const bool is_byte = parts.unknown.bytes == TokenizerParts::Unknown::Bytes::tokens &&
                         byte_named_by(entry.text).has_value();
    if (type == gguf_token_type::normal && is_byte) type = gguf_token_type::byte;
    // Spaces in a user-defined token would be printed as the character that stands for them; merges
    // make the token just as well.
    const bool has_space = entry.text.find(sentencepiece_space) != std::string_view::npos;
    const bool is_merged = result.scores[id] > least;
    if (type == gguf_token_type::user_defined && has_space && is_merged) {
      type = gguf_token_type::normal;
    }
  }
  const auto unknown = parts.unknown.token;
  if (unknown && result.types[unknown->index()] == gguf_token_type::control) {
    result.types[unknown->index()] = gguf_token_type::unknown;
  }
}

void note_normalized_tokens(GgufTokenizer& result, const TokenizerParts& parts) {
  std::vector<std::string> normalized;
  for (const AddedToken& token : parts.added) {
    if (token.normalized) normalized.push_back(printable_name(token.content));
  }
  if (normalized.empty() || parts.normalizer.empty()) return;
  result.notes.push_back(fmt::format("GGUF cannot say that {} are sought in the normalised text",
                                     fmt::join(normalized, ", ")));
}

GgufTokenizer sentencepiece(const TokenizerParts& parts, std::size_t vocabulary) {
  const auto found = find_prefix(parts);
  if (!found) {
    throw FileError(parts.file, "normalizer",
                    "with the pre_tokenizer it treats spaces in a way that GGUF has no words for");
  }
  TokenizerParts said;
  set_sentencepiece(said, found->prefix);
  if (parts.decoder != said.decoder) {
    throw FileError(parts.file, "decoder", "not that of SentencePiece, which GGUF cannot say");
  }
  if (parts.whole_words != said.whole_words) {
    throw FileError(parts.file, "model.ignore_merges",
                    "true found, which GGUF files of SentencePiece's kind cannot say");
  }
  check_unknown(parts, said);
  GgufTokenizer result;
  if (found->places == FoundPrefix::Places::others) {
    result.notes.emplace_back(
        "the tokenizer puts a space before a text that does not begin with one; readers of GGUF "
        "put one before every text, and after added tokens");
  }
  result.model = "llama";
  result.pre_tokenizer = "default";
  result.beginning = parts.beginning_of_text;
  result.unknown = parts.unknown.token;
  result.space_prefix = found->prefix == SpacePrefix::yes;
  result.scores = scores_of_merges(parts);
  add_vocabulary(result, parts, vocabulary);
  set_sentencepiece_types(result, parts);
  note_normalized_tokens(result, parts);
  result.scores.resize(result.tokens.size(), std::ranges::min(result.scores));
  return result;
}

}  // namespace

GgufTokenizer gguf_tokenizer(const TokenizerParts& parts, std::size_t vocabulary) {
  if (!std::holds_alternative<TokenizerParts::Merges>(parts.merges) || parts.vocabulary.empty()) {
    throw FileError(parts.file, parts.merges_place, "no merges of a vocabulary");
  }
  return parts.alphabet == TokenizerParts::Alphabet::bytes ? byte_level(parts, vocabulary)
                                                           : sentencepiece(parts, vocabulary);
}

GgufTokenizer gguf_tokenizer_of_folder(const std::filesystem::path& folder,
                                       std::size_t vocabulary) {
  GgufTokenizer result;
  read_tokenizer_folder(folder, vocabulary, [&](const TokenizerParts& parts) {
    result = gguf_tokenizer(parts, vocabulary);
  });
  return result;
}

}  // namespace fathom
