#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// The stem of a word by Porter's algorithm [Porter 1980] with the changes that NLTK makes to it in
/// its default mode (NLTK_EXTENSIONS), which rouge-score uses. `word` is lower case: a-z, and
/// digits, which count as consonants. Words of one or two letters stay as they are. A stem is never
/// longer than its word and never empty unless the word is.
std::string porter_stem(std::string_view word);

}  // namespace fathom
