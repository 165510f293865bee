#include "text/pre_tokenizer.h"

#include <algorithm>

#include "text/unicode.h"

namespace fathom {

PreTokenizer::Cutter::Cutter(const PreTokenizer& pre_tokenizer) : pre_tokenizer_(pre_tokenizer) {
  for (const PreTokenizerStage& stage : pre_tokenizer.stages_) {
    if (const auto* const split = std::get_if<SplitStage>(&stage)) {
      matchers_.emplace_back(split->pattern);
    }
  }
}

const std::vector<std::string_view>& PreTokenizer::Cutter::cut(std::string_view text) {
  prefixed_.clear();
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
  using Keep = SplitStage::Keep;
  matches_.clear();
  matchers_[next_matcher_].find_all(piece, matches_);
  std::size_t begin = 0;
  const auto keep_between = [&](std::size_t end) {
    if (stage.keep != Keep::matches && begin < end) {
      cut_pieces_.push_back(piece.substr(begin, end - begin));
    }
  };
  for (const std::string_view match : matches_) {
    const auto at = static_cast<std::size_t>(match.data() - piece.data());
    keep_between(at);
    if (stage.keep != Keep::between) cut_pieces_.push_back(match);
    begin = at + match.size();
  }
  keep_between(piece.size());
}

void PreTokenizer::Cutter::apply(const PrefixSpaceStage&, std::string_view piece) {
  if (piece.starts_with(' ')) {
    cut_pieces_.push_back(piece);
  } else {
    prefixed_.push_back(" ");
    prefixed_.back() += piece;
    cut_pieces_.push_back(prefixed_.back());
  }
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

}  // namespace fathom
