#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom {

/// A regular expression that means to PCRE2 what it means to Hugging Face's pre-tokenizers
/// (Oniguruma, Ruby syntax): only constructs that both read alike are taken, and characters whose
/// category the two see otherwise are matched as Hugging Face sees them. A value, safe to use from
/// many threads.
class Pattern {
 public:
  /// Throws InputError if the expression is wrong, uses a construct that is not supported (named in
  /// the message) or could match an empty text.
  static Pattern regex(std::string_view expression);
  /// Matches exactly this text, which must not be empty.
  static Pattern literal(std::string_view text);

  /// Whether both say the same, word for word.
  friend bool operator==(const Pattern& a, const Pattern& b);

  /// What one thread needs to match.
  class Matcher {
   public:
    explicit Matcher(const Pattern& pattern);

    /// Appends all matches in `text` (UTF-8), in order, as views of it. Throws InputError if the
    /// text makes the expression backtrack without end.
    void find_all(std::string_view text, std::vector<std::string_view>& matches);

   private:
    struct State;
    std::shared_ptr<State> state_;
  };

 private:
  struct Compiled;
  explicit Pattern(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  static Pattern compile(std::string_view expression, std::uint32_t options);

  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace fathom
