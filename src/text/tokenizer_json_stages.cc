#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "text/tokenizer_json.h"

namespace fathom {
namespace {

/// Replacements that make a text longer than this many times are no tokenizer's.
constexpr double most_growth = 16;

/// Goes before every text and every added token that is sought in normalised text.
constexpr std::size_t longest_prefix = 64;

PrependStep read_prepend(const JsonNode& node) {
  const JsonNode text = node.require("prepend");
  if (text.string().size() > longest_prefix) {
    text.fail(fmt::format("{} bytes, {} at most expected", text.string().size(), longest_prefix));
  }
  return {text.string()};
}

Replacement read_replacement(const JsonNode& node) {
  const JsonNode pattern = node.require("pattern");
  if (pattern.find("Regex")) pattern.refuse("a Regex in Replace");
  Replacement replacement{pattern.require("String").string(), node.require("content").string()};
  if (replacement.pattern.empty()) pattern.fail("an empty text to be replaced");
  return replacement;
}

void check_growth(const JsonNode& node, const std::vector<Replacement>& replacements) {
  if (largest_growth(replacements) > most_growth) {
    node.fail(
        fmt::format("its replacements can make a text more than {} times longer", most_growth));
  }
}

/// Calls `read` on what `node` names: itself, or the members that a Sequence lists under `key`.
template <class Read>
void for_each_member(const JsonNode& node, std::string_view key, Read read) {
  if (node.type() != "Sequence") return read(node);
  const JsonNode members = node.require(key);
  for (std::size_t i = 0; i < members.size(); ++i) read(members.at(i));
}

// The normalizer.

NormalizerStep read_normalizer_step(const JsonNode& node) {
  const std::string& type = node.type();
  if (type == "NFC") return NfcStep{};
  if (type == "Prepend") return read_prepend(node);
  if (type == "Replace") return read_replacement(node);
  node.refuse(fmt::format("the normalizer {}", printable_name(type)));
}

// The pre-tokenizer.

void add_byte_level(const JsonNode& node, std::vector<PreTokenizerStage>& stages) {
  if (node.flag("add_prefix_space", true)) stages.emplace_back(PrefixSpaceStage{});
  if (node.flag("use_regex", true)) stages.emplace_back(SplitStage{gpt2_pattern()});
}

SplitStage::Behavior behavior_named(const JsonNode& node) {
  using Behavior = SplitStage::Behavior;
  const std::string& name = node.string();
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "Contiguous") return Behavior::contiguous;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  node.refuse(fmt::format("the behavior {}", printable_name(name)));
}

Pattern read_pattern(const JsonNode& node) {
  try {
    if (const auto regex = node.find("Regex")) return Pattern::regex(regex->string());
    return Pattern::literal(node.require("String").string());
  } catch (const FileError&) {
    throw;
  } catch (const InputError& error) {
    node.fail(error.what());
  }
}

SplitStage read_split(const JsonNode& node) {
  using Delimiters = SplitStage::Delimiters;
  return {read_pattern(node.require("pattern")), behavior_named(node.require("behavior")),
          node.flag("invert", false) ? Delimiters::between : Delimiters::matches};
}

DigitsStage read_digits(const JsonNode& node) {
  using Grouping = DigitsStage::Grouping;
  return {node.flag("individual_digits", false) ? Grouping::individual : Grouping::runs};
}

/// Of a Metaspace, as pre-tokenizer or decoder: how it writes spaces.
std::string read_space(const JsonNode& node) {
  const JsonNode replacement = node.require("replacement");
  const std::string& space = replacement.string();
  constexpr std::size_t longest_character = 4;
  if (space.empty() || space.size() > longest_character) replacement.fail("not one character");
  return space;
}

MetaspaceStage::Prefix read_prefix(const JsonNode& node) {
  using Prefix = MetaspaceStage::Prefix;
  const auto scheme = node.find("prepend_scheme");
  // Files made before prepend_scheme existed have add_prefix_space.
  if (!scheme) return node.flag("add_prefix_space", true) ? Prefix::always : Prefix::never;
  if (scheme->string() == "always") return Prefix::always;
  if (scheme->string() == "first") return Prefix::at_start;
  if (scheme->string() == "never") return Prefix::never;
  scheme->refuse(fmt::format("the prepend_scheme {}", printable_name(scheme->string())));
}

MetaspaceStage read_metaspace(const JsonNode& node) {
  using Cut = MetaspaceStage::Cut;
  return {read_space(node), read_prefix(node),
          node.flag("split", true) ? Cut::before_spaces : Cut::nowhere};
}

// The decoder.

/// Puts the members of a decoder together, in order, to rules.
class DecoderReader {
 public:
  void add(const JsonNode& node) {
    const std::string& type = node.type();
    if (stage_ == Stage::byte_level) node.refuse("a decoder after ByteLevel");
    if (type == "ByteLevel") {
      require_stage(node, Stage::begin);
      if (!rules_.replacements.empty()) node.refuse("ByteLevel after Replace");
      stage_ = Stage::byte_level;
    } else if (type == "Replace") {
      require_stage(node, Stage::begin);
      rules_.replacements.push_back(read_replacement(node));
    } else if (type == "Metaspace") {
      add_metaspace(node);
    } else if (type == "ByteFallback") {
      require_stage(node, Stage::begin);
      rules_.tokens = DecoderRules::Tokens::characters_or_byte;
      stage_ = Stage::bytes_done;
    } else if (type == "Fuse") {
      require_stage(node, Stage::bytes_done);
      stage_ = Stage::fused;
    } else if (type == "Strip") {
      add_strip(node);
    } else {
      node.refuse(fmt::format("the decoder {}", printable_name(type)));
    }
  }

  DecoderRules rules(const JsonNode& node) {
    if (stage_ == Stage::byte_level) rules_.tokens = DecoderRules::Tokens::byte_alphabet;
    check_growth(node, rules_.replacements);
    return std::move(rules_);
  }

 private:
  /// What was done to the tokens so far.
  enum class Stage { begin, bytes_done, fused, stripped, byte_level };

  /// The stages only go on.
  void require_stage(const JsonNode& node, Stage latest) const {
    if (stage_ > latest) {
      node.refuse(
          fmt::format("the decoder {} at this place of the sequence", printable_name(node.type())));
    }
  }

  void add_metaspace(const JsonNode& node) {
    require_stage(node, Stage::begin);
    if (!rules_.replacements.empty()) node.refuse("Metaspace after Replace");
    const std::string space = read_space(node);
    rules_.replacements.push_back({space, " "});
    if (read_prefix(node) != MetaspaceStage::Prefix::never) rules_.not_in_first = space;
  }

  void add_strip(const JsonNode& node) {
    if (stage_ != Stage::fused) node.refuse("Strip other than after Fuse");
    stage_ = Stage::stripped;
    const JsonNode content = node.require("content");
    if (content.string().empty()) content.fail("an empty text to be stripped");
    if (node.require("stop").id() != 0) node.require("stop").refuse("stripping at the end");
    rules_.strip = DecoderRules::Strip{content.string(), node.require("start").id()};
  }

  DecoderRules rules_{.tokens = DecoderRules::Tokens::characters};
  Stage stage_ = Stage::begin;
};

// The prefix that the post-processor puts before a text.

/// The id of a special token of a template.
TokenId template_token(const JsonNode& processor, const JsonNode& token,
                       std::size_t vocabulary_size) {
  const JsonNode ids =
      processor.require("special_tokens").require(token.require("id").string()).require("ids");
  if (ids.size() != 1) ids.fail(fmt::format("{} ids, one expected", ids.size()));
  const std::size_t id = ids.at(0).id();
  if (id >= vocabulary_size) {
    ids.fail(fmt::format("token {} of a vocabulary of {}", id, vocabulary_size));
  }
  return TokenId(static_cast<std::int32_t>(id));
}

std::optional<TokenId> first_of_template(const JsonNode& node, std::size_t vocabulary_size) {
  const JsonNode single = node.require("single");
  std::optional<TokenId> first;
  bool text = false;
  for (std::size_t i = 0; i < single.size(); ++i) {
    const JsonNode part = single.at(i);
    const auto token = part.find("SpecialToken");
    if (!token) {
      (void)part.require("Sequence");
      if (text) part.refuse("the text twice in a template");
      text = true;
    } else if (text) {
      part.refuse("a token after the text");
    } else if (first) {
      part.refuse("a second token before the text");
    } else {
      first = template_token(node, *token, vocabulary_size);
    }
  }
  return first;
}

}  // namespace

std::vector<NormalizerStep> read_normalizer(const JsonNode& root) {
  std::vector<NormalizerStep> steps;
  const auto node = root.find("normalizer");
  if (!node) return steps;
  std::vector<Replacement> replacements;
  for_each_member(*node, "normalizers", [&](const JsonNode& member) {
    steps.push_back(read_normalizer_step(member));
    if (const auto* const step = std::get_if<Replacement>(&steps.back())) {
      replacements.push_back(*step);
    }
  });
  check_growth(*node, replacements);
  return steps;
}

PreTokenizerJson read_pre_tokenizer(const JsonNode& root) {
  using Alphabet = TokenizerParts::Alphabet;
  PreTokenizerJson result{{}, Alphabet::characters};
  const auto node = root.find("pre_tokenizer");
  if (!node) return result;
  for_each_member(*node, "pretokenizers", [&](const JsonNode& member) {
    // ByteLevel maps the text to the byte alphabet, which no other stage understands.
    if (result.alphabet == Alphabet::bytes) member.refuse("a pre-tokenizer after ByteLevel");
    const std::string& type = member.type();
    if (type == "ByteLevel") {
      add_byte_level(member, result.stages);
      result.alphabet = Alphabet::bytes;
    } else if (type == "Split") {
      result.stages.emplace_back(read_split(member));
    } else if (type == "Digits") {
      result.stages.emplace_back(read_digits(member));
    } else if (type == "Metaspace") {
      result.stages.emplace_back(read_metaspace(member));
    } else {
      member.refuse(fmt::format("the pre-tokenizer {}", printable_name(type)));
    }
  });
  return result;
}

DecoderRules read_decoder(const JsonNode& root) {
  const auto node = root.find("decoder");
  if (!node) root.fail("\"decoder\" is missing");
  DecoderReader reader;
  for_each_member(*node, "decoders", [&](const JsonNode& member) { reader.add(member); });
  return reader.rules(*node);
}

std::optional<TokenId> read_beginning_of_text(const JsonNode& root, std::size_t vocabulary_size) {
  std::optional<TokenId> first;
  const auto node = root.find("post_processor");
  if (!node) return first;
  for_each_member(*node, "processors", [&](const JsonNode& member) {
    const std::string& type = member.type();
    if (type == "ByteLevel") return;  // it changes offsets, not ids
    if (type != "TemplateProcessing") {
      member.refuse(fmt::format("the post-processor {}", printable_name(type)));
    }
    if (first) member.refuse("a second template");
    first = first_of_template(member, vocabulary_size);
  });
  return first;
}

}  // namespace fathom
