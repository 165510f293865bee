#include "text/tokenizer_folder.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json_file.h"
#include "formats/printable.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace fathom {
namespace {

constexpr std::size_t largest_config = std::size_t{16} << 20U;

bool is_file(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

/// A JSON file of the folder that need not be there. Stays where it is: nodes refer to it.
class OptionalFile {
 public:
  explicit OptionalFile(const std::filesystem::path& path)
      : name_(path.string()),
        json_(is_file(path) ? read_json_object(path, largest_config) : nlohmann::json::object()) {}

  /// An empty object if the file is not there.
  [[nodiscard]] JsonNode node() const { return {name_, json_, ""}; }

 private:
  std::string name_;
  nlohmann::json json_;
};

/// A token is given as its text or as an object with its text in "content".
const std::string& text_of(const JsonNode& token) {
  return token.json().is_object() ? token.require("content").string() : token.string();
}

// What tokenizer_config.json says of the beginning of a text.

std::optional<TokenId> find_token(const TokenizerParts& parts, std::string_view text) {
  for (TokenId id; id.index() < parts.vocabulary.size(); ++id) {
    if (parts.vocabulary[id.index()].text == text) return id;
  }
  return std::nullopt;
}

/// `bos` is the token that begins a text, if the folder names one. As in transformers either flag,
/// once it is there, takes the place of what tokenizer.json says.
void set_beginning_of_text(TokenizerParts& parts, const JsonNode& config,
                           const std::optional<std::string>& bos) {
  const auto adds_end = config.find("add_eos_token");
  const auto adds_beginning = config.find("add_bos_token");
  if (!adds_end && !adds_beginning) return;
  if (config.flag("add_eos_token", false)) adds_end->refuse("a token after every text");
  parts.beginning_of_text = std::nullopt;
  if (!config.flag("add_bos_token", false) || !bos) return;
  parts.beginning_of_text = find_token(parts, *bos);
  if (!parts.beginning_of_text) {
    adds_beginning->fail(
        fmt::format("the token {} is not in the vocabulary", printable_name(*bos)));
  }
}

std::optional<std::string> named_token(const JsonNode& config, std::string_view name) {
  const auto token = config.find(name);
  return token ? std::optional(text_of(*token)) : std::nullopt;
}

/// Leaves out added tokens at the end of the vocabulary that the model has no row for.
void leave_out_tokens_from(std::size_t rows, TokenizerParts& parts) {
  std::size_t size = parts.vocabulary.size();
  while (size > rows && !parts.vocabulary[size - 1].in_model) --size;
  parts.vocabulary.resize(size);
  if (parts.beginning_of_text && parts.beginning_of_text->index() >= size) {
    throw FileError(parts.file, "post_processor",
                    fmt::format("the model has no embedding for the token {} that begins a text",
                                parts.beginning_of_text->value));
  }
  std::erase_if(parts.added, [&](const AddedToken& token) { return token.id.index() >= size; });
}

// vocab.json and merges.txt.

/// The tokens that the files beside vocab.json declare, each once.
class DeclaredTokens {
 public:
  explicit DeclaredTokens(const JsonNode& vocabulary) : vocabulary_(vocabulary) {}

  /// Of "added_tokens_decoder": tokens by their id.
  void add_by_id(const JsonNode& tokens) {
    for (const auto& [id_text, value] : object_in(tokens)) {
      const JsonNode node = tokens.require(id_text);
      std::size_t id = 0;
      const char* const end = id_text.data() + id_text.size();
      const auto [stop, error] = std::from_chars(id_text.data(), end, id);
      if (error != std::errc() || stop != end) node.fail("its key is no id");
      add({node, node.require("content").string(), id, read_added_token(node)});
    }
  }

  /// Of added_tokens.json: ids by text.
  void add_by_text(const JsonNode& tokens) {
    for (const auto& [text, value] : object_in(tokens)) {
      const JsonNode node = tokens.require(text);
      AddedToken flags;
      flags.content = text;
      if (text.empty()) node.fail("an added token without text");
      add({node, text, node.id(), std::move(flags)});
    }
  }

  /// Of the special tokens that a file names ("bos_token": ...).
  void add_special(const JsonNode& config) {
    for (const std::string_view name : {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"}) {
      if (const auto token = config.find(name)) add_special_token(*token);
    }
    for (const std::string_view name : {"additional_special_tokens", "extra_special_tokens"}) {
      const auto list = config.find(name);
      if (!list || !list->json().is_array()) continue;
      for (std::size_t i = 0; i < list->size(); ++i) add_special_token(list->at(i));
    }
  }

  /// Of GPT-2's own special token, which files need not name.
  void add_default(std::string_view text) {
    const auto entry = vocabulary_.find(text);
    if (!entry || tokens_.contains(text)) return;
    AddedToken flags;
    flags.content = text;
    flags.special = true;
    add({*entry, text, entry->id(), std::move(flags)});
  }

  std::vector<DeclaredToken> all() && {
    std::vector<DeclaredToken> result;
    for (auto& [text, token] : tokens_) result.push_back(std::move(token));
    return result;
  }

 private:
  static const nlohmann::json::object_t& object_in(const JsonNode& node) {
    node.require_kind(node.json().is_object(), "an object");
    return node.json().get_ref<const nlohmann::json::object_t&>();
  }

  void add_special_token(const JsonNode& node) {
    const std::string& text = text_of(node);
    if (const auto known = tokens_.find(text); known != tokens_.end()) {
      known->second.flags.special = true;
      return;
    }
    const auto entry = vocabulary_.find(text);
    if (!entry) {
      node.fail(fmt::format("the token {} is neither in vocab.json nor in added_tokens.json",
                            printable_name(text)));
    }
    if (text.empty()) node.fail("a special token without text");
    AddedToken flags;
    if (node.json().is_object()) flags = read_added_token(node);
    flags.content = text;
    flags.special = true;
    add({node, text, entry->id(), std::move(flags)});
  }

  /// The first declaration of a text counts.
  void add(DeclaredToken token) { tokens_.try_emplace(token.text, std::move(token)); }

  JsonNode vocabulary_;
  std::map<std::string_view, DeclaredToken> tokens_;
};

/// One merge a line; the views point into `text`.
TokenizerParts::Merges read_merge_lines(const std::string& file, std::string_view text) {
  TokenizerParts::Merges merges;
  for (std::size_t number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("#version")) continue;
    const auto merge = split_merge(line);
    if (!merge) {
      throw FileError(file, fmt::format("line {}", number), "not two tokens with a space between");
    }
    merges.push_back(*merge);
  }
  return merges;
}

/// What the tokenizer's class, which these two files do not describe, does before the merges.
void set_class(TokenizerParts& parts, const JsonNode& config) {
  const auto name = config.find("tokenizer_class");
  const std::string_view given = name ? std::string_view(name->string()) : "GPT2Tokenizer";
  if (given == "GPT2Tokenizer" || given == "GPT2TokenizerFast") {
    if (config.flag("add_prefix_space", false))
      parts.pre_tokenizer.emplace_back(PrefixSpaceStage{});
    parts.pre_tokenizer.emplace_back(SplitStage{gpt2_pattern()});
  } else if (given == "Qwen2Tokenizer" || given == "Qwen2TokenizerFast") {
    parts.normalizer.emplace_back(NfcStep{});
    parts.pre_tokenizer.emplace_back(SplitStage{qwen2_pattern()});
  } else {
    name->fail(
        fmt::format("{} is not supported without a tokenizer.json, only GPT2Tokenizer and "
                    "Qwen2Tokenizer",
                    printable_name(given)));
  }
}

void read_vocabulary_and_merges(const std::filesystem::path& folder, const JsonNode& config,
                                std::optional<std::size_t> embedding_rows,
                                const std::function<void(TokenizerParts)>& use) {
  const std::string vocabulary_file = (folder / "vocab.json").string();
  const std::string merges_file = (folder / "merges.txt").string();
  const nlohmann::json json = read_json_object(vocabulary_file, largest_tokenizer_file);
  const JsonNode vocabulary(vocabulary_file, json, "");
  const std::string merges = read_text_file(merges_file, largest_tokenizer_file);
  const OptionalFile added(folder / "added_tokens.json");
  const OptionalFile special(folder / "special_tokens_map.json");

  TokenizerParts parts;
  parts.file = folder.string();
  parts.tokens_place = "vocab.json";
  parts.merges_place = "merges.txt";
  set_class(parts, config);
  constexpr std::string_view end_of_text = "<|endoftext|>";
  DeclaredTokens declared(vocabulary);
  if (const auto by_id = config.find("added_tokens_decoder")) declared.add_by_id(*by_id);
  declared.add_by_text(added.node());
  declared.add_special(config);
  declared.add_special(special.node());
  declared.add_default(end_of_text);
  read_vocabulary(parts, vocabulary, std::move(declared).all());
  if (embedding_rows) leave_out_tokens_from(*embedding_rows, parts);
  parts.merges = read_merge_lines(merges_file, merges);
  auto bos = named_token(config, "bos_token");
  if (!bos) bos = named_token(special.node(), "bos_token");
  if (!bos && find_token(parts, end_of_text)) bos = end_of_text;
  set_beginning_of_text(parts, config, bos);
  use(std::move(parts));
}

}  // namespace

void read_tokenizer_folder(const std::filesystem::path& folder,
                           std::optional<std::size_t> embedding_rows,
                           const std::function<void(TokenizerParts)>& use) {
  const OptionalFile config(folder / "tokenizer_config.json");
  const std::filesystem::path whole = folder / "tokenizer.json";
  if (is_file(whole)) {
    const std::string file = whole.string();
    const nlohmann::json json = read_json_object(whole, largest_tokenizer_file);
    TokenizerParts parts = read_tokenizer_json(JsonNode(file, json, ""));
    if (embedding_rows) leave_out_tokens_from(*embedding_rows, parts);
    set_beginning_of_text(parts, config.node(), named_token(config.node(), "bos_token"));
    use(std::move(parts));
    return;
  }
  if (is_file(folder / "vocab.json") && is_file(folder / "merges.txt")) {
    read_vocabulary_and_merges(folder, config.node(), embedding_rows, use);
    return;
  }
  for (const std::string_view other : {"tokenizer.model", "tekken.json", "vocab.json"}) {
    if (!is_file(folder / other)) continue;
    throw FileError(folder.string(), "tokenizer.json",
                    fmt::format("missing; {} alone is not supported", other));
  }
  throw FileError(folder.string(), "tokenizer.json",
                  "missing; it or vocab.json with merges.txt is expected");
}

Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder,
                                 std::optional<std::size_t> embedding_rows) {
  std::optional<Tokenizer> tokenizer;
  read_tokenizer_folder(folder, embedding_rows,
                        [&](TokenizerParts parts) { tokenizer = build(std::move(parts)); });
  return std::move(tokenizer).value();
}

}  // namespace fathom
