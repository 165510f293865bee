#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// What becomes of a word before it is compared.
enum class Stemming {
  none,
  porter,  ///< words of more than three letters are stemmed: porter_stem
};

/// Shares of the prediction's and of the reference's units that the two have in common, and their
/// harmonic mean; each in [0, 1].
struct RougeScore {
  double precision = 0;
  double recall = 0;
  double f1 = 0;
};

struct RougeScores {
  RougeScore rouge1;      ///< words
  RougeScore rouge2;      ///< pairs of neighbouring words
  RougeScore rouge_l;     ///< the longest common subsequence of words
  RougeScore rouge_lsum;  ///< for each line of the reference, the union of those with every line
};

/// ROUGE [Lin 2004] as the Python package rouge-score computes it, bit for bit. Texts are UTF-8.
/// Words are runs of a-z and 0-9 after Unicode's lower-casing: all else separates, letters of
/// other scripts too. A text without words scores 0.
RougeScores rouge(std::string_view prediction, std::string_view reference, Stemming stemming);

/// The words of a text as rouge() sees them.
std::vector<std::string> rouge_words(std::string_view text, Stemming stemming);

}  // namespace fathom
