#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// Puts one text in the place of every occurrence of another.
struct Replacement {
  std::string pattern;  ///< not empty
  std::string content;
  friend bool operator==(const Replacement&, const Replacement&) = default;
};

/// The text after all replacements, one after another; of overlapping occurrences the first.
std::string replaced(std::string_view text, const std::vector<Replacement>& replacements);
std::string replaced(std::string_view text, const Replacement& replacement);

/// How many times longer the replacements can make a text, at most.
double largest_growth(const std::vector<Replacement>& replacements);

}  // namespace fathom
