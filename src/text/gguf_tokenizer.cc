#include "text/gguf_tokenizer.h"

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

/// Throws FileError on what the metadata of byte-level files has no words for.
void check_kind(const TokenizerParts& parts) {
  if (parts.alphabet != TokenizerParts::Alphabet::bytes ||
      !std::holds_alternative<TokenizerParts::Merges>(parts.merges)) {
    throw FileError(parts.file, "pre_tokenizer",
                    "not byte-level; only byte-level BPE tokenizers are converted, not those of "
                    "SentencePiece's kind");
  }
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

}  // namespace

GgufTokenizer gguf_tokenizer(const TokenizerParts& parts, std::size_t vocabulary) {
  check_kind(parts);
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

GgufTokenizer gguf_tokenizer_of_folder(const std::filesystem::path& folder,
                                       std::size_t vocabulary) {
  GgufTokenizer result;
  read_tokenizer_folder(folder, vocabulary, [&](const TokenizerParts& parts) {
    result = gguf_tokenizer(parts, vocabulary);
  });
  return result;
}

}  // namespace fathom
