#include "text/tokenizer_json.h"

#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "formats/json_file.h"
#include "formats/printable.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

// The vocabulary.

/// Puts a token at its id. Entries without text yet are free.
void place_token(TokenizerParts& parts, std::vector<bool>& taken, const JsonNode& node,
                 std::string_view text, std::size_t id, bool in_model) {
  if (id >= parts.vocabulary.size()) {
    node.fail(fmt::format("the id {} of {} leaves a hole: there are {} tokens", id,
                          printable_name(text), parts.vocabulary.size()));
  }
  if (taken[id]) {
    node.fail(fmt::format("the id {} is that of {} and of {}", id,
                          printable_name(parts.vocabulary[id].text), printable_name(text)));
  }
  taken[id] = true;
  parts.vocabulary[id] = {text, in_model};
}

std::vector<DeclaredToken> declared_tokens(const JsonNode& root) {
  std::vector<DeclaredToken> tokens;
  const auto list = root.find("added_tokens");
  const std::size_t count = list ? list->size() : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const JsonNode node = list->at(i);
    tokens.push_back(
        {node, node.require("content").string(), node.require("id").id(), read_added_token(node)});
  }
  return tokens;
}

TokenizerParts::Merges read_merges(const JsonNode& root) {
  const JsonNode merges = root.require("model").require("merges");
  const std::size_t count = merges.size();
  TokenizerParts::Merges result;
  result.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const nlohmann::json& merge = merges.json()[i];
    if (merge.is_string()) {
      const auto parsed = split_merge(merge.get_ref<const std::string&>());
      if (!parsed) merges.at(i).fail("not two tokens with a space between");
      result.push_back(*parsed);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      result.push_back(
          {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()});
    } else {
      merges.at(i).fail("not a pair of tokens");
    }
  }
  return result;
}

/// Refuses options of the model that would change what it makes of a text.
void check_model(const JsonNode& model) {
  if (const auto type = model.find("type"); type && type->string() != "BPE") {
    type->fail(
        fmt::format("the model {} is not supported, only BPE", printable_name(type->string())));
  }
  if (const auto dropout = model.find("dropout"); dropout && dropout->json() != 0.0) {
    dropout->refuse("dropout");
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.text(key).empty()) model.refuse(key);
  }
}

/// The id of the model's token for what it does not know.
std::optional<TokenId> read_unknown_token(const JsonNode& model) {
  const auto name = model.find("unk_token");
  if (!name) return std::nullopt;
  const auto entry = model.require("vocab").find(name->string());
  if (!entry)
    name->fail(fmt::format("model.vocab has no token {}", printable_name(name->string())));
  if (name->string().empty()) name->fail("a token without text");
  return TokenId(static_cast<std::int32_t>(entry->id()));
}

TokenizerParts::Unknown read_unknown(const JsonNode& model) {
  using Unknown = TokenizerParts::Unknown;
  Unknown unknown;
  unknown.token = read_unknown_token(model);
  if (model.flag("fuse_unk", false)) unknown.runs = Unknown::Runs::fused;
  if (model.flag("byte_fallback", false)) unknown.bytes = Unknown::Bytes::tokens;
  return unknown;
}

}  // namespace

AddedToken read_added_token(const JsonNode& node) {
  AddedToken token;
  token.content = node.require("content").string();
  if (token.content.empty()) node.fail("an added token without text");
  token.special = node.flag("special", false);
  token.single_word = node.flag("single_word", false);
  token.lstrip = node.flag("lstrip", false);
  token.rstrip = node.flag("rstrip", false);
  token.normalized = node.flag("normalized", !token.special);
  return token;
}

void read_vocabulary(TokenizerParts& parts, const JsonNode& vocabulary,
                     std::vector<DeclaredToken> declared) {
  vocabulary.require_kind(vocabulary.json().is_object(), "an object");
  const std::size_t most = vocabulary.json().size() + declared.size();
  std::vector<const DeclaredToken*> new_tokens;  // that the model's vocabulary does not hold
  for (DeclaredToken& token : declared) {
    const auto known = vocabulary.find(token.text);
    if (!known) {
      new_tokens.push_back(&token);
    } else if (known->id() != token.id) {
      token.node.fail(fmt::format("the id {} of {} is {} in {}", token.id,
                                  printable_name(token.text), known->id(), parts.tokens_place));
    }
    if (token.id >= most) {
      token.node.fail(fmt::format("the id {} of {} leaves a hole in the vocabulary", token.id,
                                  printable_name(token.text)));
    }
    token.flags.id = TokenId(static_cast<std::int32_t>(token.id));
    parts.added.push_back(token.flags);
  }
  parts.vocabulary.resize(vocabulary.json().size() + new_tokens.size());
  std::vector<bool> taken(parts.vocabulary.size());
  const auto& entries = vocabulary.json().get_ref<const nlohmann::json::object_t&>();
  for (const auto& [text, id] : entries) {
    if (!id.is_number_unsigned()) {
      vocabulary.fail(fmt::format("the id of {} is no id", printable_name(text)));
    }
    place_token(parts, taken, vocabulary, text, id.get<std::size_t>(), true);
  }
  for (const DeclaredToken* const token : new_tokens) {
    place_token(parts, taken, token->node, token->text, token->id, false);
  }
}

TokenizerParts read_tokenizer_json(const JsonNode& root) {
  using WholeWords = TokenizerParts::WholeWords;
  TokenizerParts parts;
  parts.file = root.file();
  parts.tokens_place = "model.vocab";
  parts.merges_place = "model.merges";
  const JsonNode model = root.require("model");
  check_model(model);
  if (model.flag("ignore_merges", false)) parts.whole_words = WholeWords::look_up_first;
  parts.normalizer = read_normalizer(root);
  auto [stages, alphabet] = read_pre_tokenizer(root);
  parts.pre_tokenizer = std::move(stages);
  parts.alphabet = alphabet;
  parts.decoder = read_decoder(root);
  read_vocabulary(parts, model.require("vocab"), declared_tokens(root));
  parts.unknown = read_unknown(model);
  parts.merges = read_merges(root);
  parts.beginning_of_text = read_beginning_of_text(root, parts.vocabulary.size());
  return parts;
}

Tokenizer Tokenizer::from_json(const std::filesystem::path& path) {
  const std::string file = path.string();
  const nlohmann::json json = read_json_object(path, largest_tokenizer_file);
  return build(read_tokenizer_json(JsonNode(file, json, "")));
}

}  // namespace fathom
