#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json_file.h"
#include "formats/printable.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace fathom {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_key_shown = 80;

/// A value inside tokenizer.json with the way to it, so that errors name the place.
class Node {
 public:
  Node(const std::string& file, const Json& value, std::string place)
      : file_(&file), value_(&value), place_(std::move(place)) {}

  [[noreturn]] void fail(std::string_view problem) const {
    throw FileError(*file_, place_, problem);
  }
  [[noreturn]] void refuse(std::string_view what) const {
    fail(fmt::format("{} is not supported", what));
  }

  [[nodiscard]] const std::string& place() const { return place_; }
  [[nodiscard]] const Json& json() const { return *value_; }

  /// Nullopt if there is no such key or its value is null. The key may come from the file.
  [[nodiscard]] std::optional<Node> find(std::string_view key) const {
    require_kind(value_->is_object(), "an object");
    const auto found = value_->find(key);
    if (found == value_->end() || found->is_null()) return std::nullopt;
    std::string name = printable(key, longest_key_shown);
    return Node(*file_, *found, place_.empty() ? name : fmt::format("{}.{}", place_, name));
  }
  [[nodiscard]] Node require(std::string_view key) const {
    auto found = find(key);
    if (!found) fail(fmt::format("\"{}\" is missing", printable(key, longest_key_shown)));
    return *std::move(found);
  }
  [[nodiscard]] std::size_t size() const {
    require_kind(value_->is_array(), "an array");
    return value_->size();
  }
  /// `i` must be below size().
  [[nodiscard]] Node at(std::size_t i) const {
    return {*file_, (*value_)[i], fmt::format("{}[{}]", place_, i)};
  }

  [[nodiscard]] const std::string& string() const {
    require_kind(value_->is_string(), "a string");
    return value_->get_ref<const std::string&>();
  }
  [[nodiscard]] std::size_t id() const {
    require_kind(value_->is_number_unsigned(), "a number that is an id");
    return value_->get<std::size_t>();
  }
  [[nodiscard]] bool flag(std::string_view key, bool otherwise) const {
    const auto found = find(key);
    if (!found) return otherwise;
    found->require_kind(found->value_->is_boolean(), "true or false");
    return found->value_->get<bool>();
  }
  [[nodiscard]] std::string text(std::string_view key) const {
    const auto found = find(key);
    return found ? found->string() : std::string();
  }

  void require_kind(bool is_that, std::string_view what) const {
    if (!is_that) fail(fmt::format("found {}, expected {}", value_->type_name(), what));
  }

 private:
  const std::string* file_;
  const Json* value_;
  std::string place_;
};

// The pre-tokenizer and the normalizer.

void add_byte_level(const Node& node, std::vector<PreTokenizerStage>& stages) {
  if (node.flag("add_prefix_space", true)) stages.emplace_back(PrefixSpaceStage{});
  if (node.flag("use_regex", true)) stages.emplace_back(SplitStage{gpt2_pattern()});
}

SplitStage::Keep keep_named(const Node& node) {
  using Keep = SplitStage::Keep;
  const bool invert = node.flag("invert", false);
  const Node behavior = node.require("behavior");
  if (behavior.string() == "Isolated") return Keep::both;
  if (behavior.string() == "Removed") return invert ? Keep::matches : Keep::between;
  behavior.refuse(fmt::format("the behavior {}", printable_name(behavior.string())));
}

void add_split(const Node& node, std::vector<PreTokenizerStage>& stages) {
  const Node pattern = node.require("pattern");
  const SplitStage::Keep keep = keep_named(node);
  try {
    if (const auto regex = pattern.find("Regex")) {
      stages.emplace_back(SplitStage{Pattern::regex(regex->string()), keep});
    } else {
      stages.emplace_back(SplitStage{Pattern::literal(pattern.require("String").string()), keep});
    }
  } catch (const FileError&) {
    throw;
  } catch (const InputError& error) {
    pattern.fail(error.what());
  }
}

void add_digits(const Node& node, std::vector<PreTokenizerStage>& stages) {
  using Grouping = DigitsStage::Grouping;
  const bool individual = node.flag("individual_digits", false);
  stages.emplace_back(DigitsStage{individual ? Grouping::individual : Grouping::runs});
}

/// Adds what `node` names. True if it maps the text to the byte alphabet, after which nothing may
/// come.
bool add_stage(const Node& node, std::vector<PreTokenizerStage>& stages) {
  const std::string& type = node.require("type").string();
  if (type == "ByteLevel") {
    add_byte_level(node, stages);
    return true;
  }
  if (type == "Split") {
    add_split(node, stages);
  } else if (type == "Digits") {
    add_digits(node, stages);
  } else {
    node.refuse(fmt::format("the pre-tokenizer {}", printable_name(type)));
  }
  return false;
}

std::vector<PreTokenizerStage> read_pre_tokenizer(const Node& root) {
  const Node node = root.require("pre_tokenizer");
  std::vector<PreTokenizerStage> stages;
  if (node.require("type").string() != "Sequence") {
    if (!add_stage(node, stages)) node.fail("no ByteLevel, so this is not a byte-level BPE");
    return stages;
  }
  const Node sequence = node.require("pretokenizers");
  bool byte_level = false;
  for (std::size_t i = 0; i < sequence.size(); ++i) {
    if (byte_level) sequence.at(i).refuse("a pre-tokenizer after ByteLevel");
    byte_level = add_stage(sequence.at(i), stages);
  }
  if (!byte_level) node.fail("no ByteLevel, so this is not a byte-level BPE");
  return stages;
}

TokenizerParts::Normalization read_normalizer(const Node& root) {
  using Normalization = TokenizerParts::Normalization;
  const auto node = root.find("normalizer");
  if (!node) return Normalization::none;
  const std::string& type = node->require("type").string();
  if (type == "NFC") return Normalization::nfc;
  if (type == "Sequence") {
    const Node members = node->require("normalizers");
    if (members.size() == 0) return Normalization::none;
    if (members.size() == 1 && members.at(0).require("type").string() == "NFC") {
      return Normalization::nfc;
    }
  }
  node->refuse(fmt::format("the normalizer {}", printable_name(type)));
}

// The vocabulary.

/// Puts a token at its id. Entries without text yet are free.
void place_token(TokenizerParts& parts, std::vector<bool>& taken, const Node& node,
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

AddedToken read_added_token(const Node& node) {
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

void read_vocabulary(TokenizerParts& parts, const Node& root) {
  const Node vocabulary = root.require("model").require("vocab");
  vocabulary.require_kind(vocabulary.json().is_object(), "an object");
  const auto added = root.find("added_tokens");
  const std::size_t added_count = added ? added->size() : 0;

  std::vector<Node> new_tokens;  // added tokens that the model's vocabulary does not hold
  for (std::size_t i = 0; i < added_count; ++i) {
    const Node node = added->at(i);
    AddedToken token = read_added_token(node);
    const std::size_t id = node.require("id").id();
    const auto known = vocabulary.find(token.content);
    if (!known) {
      new_tokens.push_back(node);
    } else if (known->id() != id) {
      node.fail(fmt::format("the id {} of {} is {} in model.vocab", id,
                            printable_name(token.content), known->id()));
    }
    if (id >= vocabulary.json().size() + added_count) {
      node.fail(fmt::format("the id {} of {} leaves a hole in the vocabulary", id,
                            printable_name(token.content)));
    }
    token.id = TokenId(static_cast<std::int32_t>(id));
    parts.added.push_back(std::move(token));
  }
  parts.vocabulary.resize(vocabulary.json().size() + new_tokens.size());
  std::vector<bool> taken(parts.vocabulary.size());
  const auto& entries = vocabulary.json().get_ref<const Json::object_t&>();
  for (const auto& [text, id] : entries) {
    if (!id.is_number_unsigned())
      vocabulary.fail(fmt::format("the id of {} is no id", printable_name(text)));
    place_token(parts, taken, vocabulary, text, id.get<std::size_t>(), true);
  }
  for (const Node& node : new_tokens) {
    place_token(parts, taken, node, node.require("content").string(), node.require("id").id(),
                false);
  }
}

void read_merges(TokenizerParts& parts, const Node& root) {
  const Node merges = root.require("model").require("merges");
  const std::size_t count = merges.size();
  parts.merges.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Json& merge = merges.json()[i];
    if (merge.is_string()) {
      const auto parsed = split_merge(merge.get_ref<const std::string&>());
      if (!parsed) merges.at(i).fail("not two tokens with a space between");
      parts.merges.push_back(*parsed);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      parts.merges.push_back(
          {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()});
    } else {
      merges.at(i).fail("not a pair of tokens");
    }
  }
}

/// Refuses options of the model that would change what it makes of a text.
void check_model(const Node& root) {
  const Node model = root.require("model");
  if (const auto type = model.find("type"); type && type->string() != "BPE") {
    type->refuse(fmt::format("the model {}", printable_name(type->string())));
  }
  if (const auto dropout = model.find("dropout"); dropout && dropout->json() != 0.0) {
    dropout->refuse("dropout");
  }
  if (model.flag("byte_fallback", false)) model.refuse("byte_fallback");
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.text(key).empty()) model.refuse(key);
  }
  if (const auto decoder = root.find("decoder")) {
    const std::string& type = decoder->require("type").string();
    if (type != "ByteLevel") decoder->refuse(fmt::format("the decoder {}", printable_name(type)));
  } else {
    root.fail("\"decoder\" is missing; ByteLevel is expected");
  }
}

// The prefix that the post-processor puts before a text.

std::optional<TokenId> first_of_template(const Node& node, std::size_t vocabulary_size) {
  const Node single = node.require("single");
  if (single.size() == 0) return std::nullopt;
  const auto token = single.at(0).find("SpecialToken");
  if (!token) return std::nullopt;
  const Node ids =
      node.require("special_tokens").require(token->require("id").string()).require("ids");
  if (ids.size() == 0) return std::nullopt;
  const std::size_t id = ids.at(0).id();
  if (id >= vocabulary_size) {
    ids.fail(fmt::format("token {} of a vocabulary of {}", id, vocabulary_size));
  }
  return TokenId(static_cast<std::int32_t>(id));
}

std::optional<TokenId> read_beginning_of_text(const Node& root, std::size_t vocabulary_size) {
  const auto node = root.find("post_processor");
  if (!node) return std::nullopt;
  const std::string& type = node->require("type").string();
  if (type == "TemplateProcessing") return first_of_template(*node, vocabulary_size);
  if (type != "Sequence") return std::nullopt;
  const Node members = node->require("processors");
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members.at(i).require("type").string() == "TemplateProcessing") {
      return first_of_template(members.at(i), vocabulary_size);
    }
  }
  return std::nullopt;
}

}  // namespace

TokenizerParts parts_of_json(const Json& json, const std::string& file) {
  TokenizerParts parts;
  parts.file = file;
  parts.tokens_place = "the vocabulary";
  parts.merges_place = "model.merges";
  const Node root(parts.file, json, "");
  check_model(root);
  using MissingBytes = TokenizerParts::MissingBytes;
  using WholeWords = TokenizerParts::WholeWords;
  const bool look_up = root.require("model").flag("ignore_merges", false);
  parts.whole_words = look_up ? WholeWords::look_up_first : WholeWords::merge;
  parts.normalization = read_normalizer(root);
  parts.pre_tokenizer = read_pre_tokenizer(root);
  read_vocabulary(parts, root);
  read_merges(parts, root);
  parts.beginning_of_text = read_beginning_of_text(root, parts.vocabulary.size());
  const bool drops = !root.require("model").find("unk_token");
  parts.missing_bytes = drops ? MissingBytes::drop : MissingBytes::refuse;
  return parts;
}

Tokenizer Tokenizer::from_json(const std::filesystem::path& path) {
  const Json json = read_json_object(path, largest_tokenizer_json);
  return build(parts_of_json(json, path.string()));
}

}  // namespace fathom
