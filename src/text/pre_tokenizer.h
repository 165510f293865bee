#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/pattern.h"

namespace fathom {

/// Sets characters of the number categories apart.
struct DigitsStage {
  enum class Grouping { individual, runs } grouping = Grouping::individual;
  friend bool operator==(const DigitsStage&, const DigitsStage&) = default;
};

/// Cuts at delimiters: the matches of a pattern, or what lies between them.
struct SplitStage {
  Pattern pattern;
  enum class Behavior {
    isolated,              ///< delimiters are pieces of their own
    removed,               ///< delimiters are dropped
    contiguous,            ///< delimiters that touch are one piece
    merged_with_previous,  ///< a delimiter ends the piece before it
    merged_with_next,      ///< a delimiter begins the piece after it
  } behavior = Behavior::isolated;
  enum class Delimiters { matches, between } delimiters = Delimiters::matches;
  friend bool operator==(const SplitStage&, const SplitStage&) = default;
};

/// Puts a space before every piece that does not begin with one.
struct PrefixSpaceStage {
  friend bool operator==(const PrefixSpaceStage&, const PrefixSpaceStage&) = default;
};

/// Writes spaces as another text.
struct MetaspaceStage {
  std::string space;
  enum class Prefix {
    never,
    at_start,  ///< put before a piece that begins the text, unless it begins with it
    always,    ///< put before every piece that does not begin with it
  } prefix = Prefix::always;
  enum class Cut {
    nowhere,
    before_spaces,  ///< each begins a new piece
  } cut = Cut::before_spaces;
  friend bool operator==(const MetaspaceStage&, const MetaspaceStage&) = default;
};

using PreTokenizerStage = std::variant<DigitsStage, SplitStage, PrefixSpaceStage, MetaspaceStage>;

/// Where in the whole text the text lies that is cut.
enum class TextPlace { start, inside };

/// The pieces of a text that the merges work on, cut by stages applied one after another.
class PreTokenizer {
 public:
  explicit PreTokenizer(std::vector<PreTokenizerStage> stages) : stages_(std::move(stages)) {}

  /// What one thread needs to cut texts. It must not outlive the PreTokenizer.
  class Cutter {
   public:
    explicit Cutter(const PreTokenizer& pre_tokenizer);

    /// The pieces of `text` (UTF-8), none of them empty. They are views of `text` or of the cutter,
    /// good until the next call.
    const std::vector<std::string_view>& cut(std::string_view text, TextPlace place);

   private:
    void apply(const DigitsStage& stage, std::string_view piece);
    void apply(const SplitStage& stage, std::string_view piece);
    void apply(const PrefixSpaceStage& stage, std::string_view piece);
    void apply(const MetaspaceStage& stage, std::string_view piece);

    const PreTokenizer& pre_tokenizer_;
    std::vector<Pattern::Matcher> matchers_;  // one for each SplitStage, in order
    std::size_t next_matcher_ = 0;
    std::vector<std::string_view> pieces_;
    std::vector<std::string_view> cut_pieces_;
    std::vector<std::string_view> matches_;
    std::deque<std::string> rewritten_;
    const char* start_of_text_ = nullptr;  // null: the text that is cut lies inside
  };

 private:
  std::vector<PreTokenizerStage> stages_;
};

/// The pattern of GPT-2, which Hugging Face's ByteLevel pre-tokenizer uses.
Pattern gpt2_pattern();
/// The pattern of Llama 3.
Pattern llama3_pattern();
/// The pattern of Qwen2.
Pattern qwen2_pattern();
/// The pattern of Tekken, Mistral's byte-level tokenizer.
Pattern tekken_pattern();

}  // namespace fathom
