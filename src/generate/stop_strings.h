#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// Watches a stream of text for strings that end it. Text that may be the beginning of one is held
/// back until that is decided.
class StopStrings {
 public:
  /// Throws InputError if one is empty.
  explicit StopStrings(std::vector<std::string> strings);

  /// Adds text; gives what is certain to come before any stop string. Once a stop string is found
  /// (the one that begins first; the longest of those) `found()` names it and no more text comes.
  std::string push(std::string_view text);
  /// What was held back, at the end of the stream.
  std::string flush();
  [[nodiscard]] const std::optional<std::string>& found() const { return found_; }

 private:
  std::vector<std::string> strings_;
  std::string held_;
  std::optional<std::string> found_;
};

}  // namespace fathom
