#include "text/pre_tokenizer.h"

#include <optional>

#include "text/replacement.h"
#include "text/unicode.h"

namespace fathom {
namespace {

/// Joins delimiters and what lies between them to pieces. Empty texts are no pieces.
class DelimitedPieces {
 public:
  using Behavior = SplitStage::Behavior;

  DelimitedPieces(Behavior behavior, std::vector<std::string_view>& pieces)
      : behavior_(behavior), pieces_(pieces) {}

  /// Adds the text that follows what was added before.
  void add(std::string_view text, bool delimiter) {
    if (text.empty()) return;
    if (behavior_ == Behavior::removed) {
      if (!delimiter) pieces_.push_back(text);
    } else if (open_ && joins(delimiter)) {
      open_ = std::string_view(open_->data(), open_->size() + text.size());
    } else {
      finish();
      open_ = text;
    }
    last_is_delimiter_ = delimiter;
  }

  void finish() {
    if (open_) pieces_.push_back(*open_);
    open_.reset();
  }

 private:
  /// Whether a text belongs to the piece before it.
  [[nodiscard]] bool joins(bool delimiter) const {
    switch (behavior_) {
      case Behavior::contiguous:
        return delimiter == last_is_delimiter_;
      case Behavior::merged_with_previous:
        return delimiter && !last_is_delimiter_;
      case Behavior::merged_with_next:
        return !delimiter && last_is_delimiter_;
      case Behavior::isolated:
      case Behavior::removed:
        break;
    }
    return false;
  }

  Behavior behavior_;
  std::vector<std::string_view>& pieces_;
  std::optional<std::string_view> open_;  // the piece that may grow
  bool last_is_delimiter_ = false;
};

}  // namespace

PreTokenizer::Cutter::Cutter(const PreTokenizer& pre_tokenizer) : pre_tokenizer_(pre_tokenizer) {
  for (const PreTokenizerStage& stage : pre_tokenizer.stages_) {
    if (const auto* const split = std::get_if<SplitStage>(&stage)) {
      matchers_.emplace_back(split->pattern);
    }
  }
}

const std::vector<std::string_view>& PreTokenizer::Cutter::cut(std::string_view text,
                                                               TextPlace place) {
  rewritten_.clear();
  start_of_text_ = place == TextPlace::start ? text.data() : nullptr;
  pieces_.clear();
  if (!text.empty()) pieces_.push_back(text);
  next_matcher_ = 0;
  for (const PreTokenizerStage& stage : pre_tokenizer_.stages_) {
    cut_pieces_.clear();
    for (const std::string_view piece : pieces_) {
      std::visit([&](const auto& s) { apply(s, piece); }, stage);
    }
    std::swap(pieces_, cut_pieces_);
    if (std::holds_alternative<SplitStage>(stage)) ++next_matcher_;
  }
  return pieces_;
}

void PreTokenizer::Cutter::apply(const DigitsStage& stage, std::string_view piece) {
  std::size_t begin = 0;  // of the piece that grows
  bool in_digits = false;
  for (std::size_t i = 0; i < piece.size();) {
    const Utf8Unit unit = first_character(piece.substr(i));
    const bool digit = is_numeric(unit.character);
    const bool joins =
        digit == in_digits && (!digit || stage.grouping == DigitsStage::Grouping::runs);
    if (!joins && begin < i) {
      cut_pieces_.push_back(piece.substr(begin, i - begin));
      begin = i;
    }
    in_digits = digit;
    i += unit.bytes;
  }
  cut_pieces_.push_back(piece.substr(begin));
}

void PreTokenizer::Cutter::apply(const SplitStage& stage, std::string_view piece) {
  matches_.clear();
  matchers_[next_matcher_].find_all(piece, matches_);
  DelimitedPieces pieces(stage.behavior, cut_pieces_);
  const bool matches_delimit = stage.delimiters == SplitStage::Delimiters::matches;
  std::size_t begin = 0;
  for (const std::string_view match : matches_) {
    const auto at = static_cast<std::size_t>(match.data() - piece.data());
    pieces.add(piece.substr(begin, at - begin), !matches_delimit);
    pieces.add(match, matches_delimit);
    begin = at + match.size();
  }
  pieces.add(piece.substr(begin), !matches_delimit);
  pieces.finish();
}

void PreTokenizer::Cutter::apply(const PrefixSpaceStage&, std::string_view piece) {
  if (piece.starts_with(' ')) {
    cut_pieces_.push_back(piece);
  } else {
    rewritten_.push_back(" ");
    rewritten_.back() += piece;
    cut_pieces_.push_back(rewritten_.back());
  }
}

void PreTokenizer::Cutter::apply(const MetaspaceStage& stage, std::string_view piece) {
  using Prefix = MetaspaceStage::Prefix;
  std::string text = replaced(piece, Replacement{" ", stage.space});
  const bool at_start = piece.data() == start_of_text_;
  const bool prefix =
      stage.prefix == Prefix::always || (stage.prefix == Prefix::at_start && at_start);
  if (prefix && !text.starts_with(stage.space)) text.insert(0, stage.space);
  rewritten_.push_back(std::move(text));
  std::string_view rest = rewritten_.back();
  while (stage.cut == MetaspaceStage::Cut::before_spaces) {
    const std::size_t next =
        rest.find(stage.space, rest.starts_with(stage.space) ? stage.space.size() : 0);
    if (next == std::string_view::npos) break;
    cut_pieces_.push_back(rest.substr(0, next));
    rest.remove_prefix(next);
  }
  cut_pieces_.push_back(rest);
}

// The published patterns: a token's place in a vocabulary depends on them.

Pattern gpt2_pattern() {
  return Pattern::regex(
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
}

Pattern llama3_pattern() {
  return Pattern::regex(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
                        R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
}

Pattern qwen2_pattern() {
  return Pattern::regex(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                        R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
}

Pattern tekken_pattern() {
  return Pattern::regex(
      R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
      R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
      R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
}

}  // namespace fathom
