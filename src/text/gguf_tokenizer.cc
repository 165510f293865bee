#include "text/gguf_tokenizer.h"

#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json_file.h"
#include "formats/printable.h"
#include "text/tokenizer_parts.h"

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
  result.merges.reserve(parts.merges.size());
  for (const auto& [left, right] : parts.merges) {
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

std::optional<TokenId> unknown_token(const nlohmann::json& json, const GgufTokenizer& tokenizer) {
  const auto& model = json.at("model");
  const auto name = model.find("unk_token");
  if (name == model.end() || !name->is_string()) return std::nullopt;
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id) {
    if (tokenizer.tokens[id] == name->get_ref<const std::string&>()) {
      return TokenId(static_cast<std::int32_t>(id));
    }
  }
  return std::nullopt;
}

}  // namespace

GgufTokenizer gguf_tokenizer(const std::filesystem::path& path, std::size_t vocabulary) {
  const nlohmann::json json = read_json_object(path, largest_tokenizer_json);
  const TokenizerParts parts = parts_of_json(json, path.string());
  const std::optional<GgufPreTokenizer> pre = gguf_pre_tokenizer(parts);
  if (!pre) {
    throw FileError(path.string(), "pre_tokenizer", "GGUF has no name for how it cuts texts");
  }
  const bool treats_words_alike = pre->whole_words == parts.whole_words;
  if (!treats_words_alike && !merges_make_all_tokens(build(parts))) {
    throw FileError(path.string(), "model.ignore_merges",
                    fmt::format("not as in GGUF's pre-tokenizer {}, and it matters: there are "
                                "tokens that no merge makes",
                                pre->name));
  }
  GgufTokenizer result;
  if (pre->normalization != parts.normalization) {
    result.notes.push_back(fmt::format(
        "the normalizer is not that of GGUF's pre-tokenizer {}: texts that are not in Unicode's "
        "composed form (NFC) may become other tokens",
        pre->name));
  }
  result.model = "gpt2";
  result.pre_tokenizer = pre->name;
  result.beginning = parts.beginning_of_text;
  add_vocabulary(result, parts, vocabulary);
  add_merges(result, parts);
  result.unknown = unknown_token(json, result);
  return result;
}

}  // namespace fathom
