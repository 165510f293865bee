#include "metrics/porter_stemmer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

namespace fathom {
namespace {

// What may end a word, and what takes its place if the step's condition holds.
struct Rule {
  std::string_view suffix;
  std::string_view replacement;
};

constexpr bool is_vowel_letter(char c) {
  return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

// Whether letter i is a consonant: neither a, e, i, o, u nor a y that follows a consonant.
bool is_consonant(std::string_view word, std::size_t i) {
  if (is_vowel_letter(word[i])) return false;
  // In a run of y, consonants and vowels take turns; the letter before it decides which begins.
  bool consonant = true;
  for (; word[i] == 'y'; --i) {
    if (i == 0) return consonant;
    if (word[i - 1] != 'y') return consonant == is_vowel_letter(word[i - 1]);
    consonant = !consonant;
  }
  return true;
}

// Porter's m: how often a consonant follows a vowel.
int measure(std::string_view stem) {
  int count = 0;
  bool consonant = true;
  for (std::size_t i = 0; i < stem.size(); ++i) {
    const bool after_vowel = i > 0 && !consonant;
    consonant = !is_vowel_letter(stem[i]) && (stem[i] != 'y' || i == 0 || !consonant);
    if (after_vowel && consonant) ++count;
  }
  return count;
}

bool contains_vowel(std::string_view stem) {
  for (std::size_t i = 0; i < stem.size(); ++i) {
    // A first y is a consonant, a later one a vowel unless it follows a vowel, which was found
    // then.
    if (is_vowel_letter(stem[i]) || (stem[i] == 'y' && i > 0)) return true;
  }
  return false;
}

bool ends_in_double_consonant(std::string_view word) {
  const std::size_t n = word.size();
  return n >= 2 && word[n - 1] == word[n - 2] && is_consonant(word, n - 1);
}

// Porter's *o: consonant, vowel, consonant other than w, x, y at the end. NLTK: or a vowel and a
// consonant, and no more.
bool ends_in_short_syllable(std::string_view word) {
  const std::size_t n = word.size();
  if (n == 2) return !is_consonant(word, 0) && is_consonant(word, 1);
  return n >= 3 && is_consonant(word, n - 3) && !is_consonant(word, n - 2) &&
         is_consonant(word, n - 1) && word[n - 1] != 'w' && word[n - 1] != 'x' &&
         word[n - 1] != 'y';
}

std::string_view without_last(std::string_view word, std::size_t letters) {
  return word.substr(0, word.size() - letters);
}

void replace_end(std::string& word, std::size_t letters, std::string_view replacement) {
  word.resize(word.size() - letters);
  word += replacement;
}

// Of the rules, the first whose suffix the word has decides, whether or not `condition` lets the
// stem before it pass.
template <class Condition>
void apply_first(std::string& word, std::span<const Rule> rules, Condition condition) {
  for (const Rule& rule : rules) {
    if (!word.ends_with(rule.suffix)) continue;
    if (condition(without_last(word, rule.suffix.size()), rule)) {
      replace_end(word, rule.suffix.size(), rule.replacement);
    }
    return;
  }
}

// Plurals.
void step_1a(std::string& word) {
  if (word.ends_with("ies")) {
    replace_end(word, 3, word.size() == 4 ? "ie" : "i");
  } else if (word.ends_with("sses")) {
    replace_end(word, 4, "ss");
  } else if (word.ends_with('s') && !word.ends_with("ss")) {
    word.pop_back();
  }
}

// Past tenses and participles.
void step_1b(std::string& word) {
  if (word.ends_with("ied")) return replace_end(word, 3, word.size() == 4 ? "ie" : "i");
  if (word.ends_with("eed")) {
    if (measure(without_last(word, 3)) > 0) word.pop_back();
    return;
  }
  if (word.ends_with("ed") && contains_vowel(without_last(word, 2))) {
    word.resize(word.size() - 2);
  } else if (word.ends_with("ing") && contains_vowel(without_last(word, 3))) {
    word.resize(word.size() - 3);
  } else {
    return;
  }
  // The e that the suffix took the place of is put back.
  const bool lacks_e = word.ends_with("at") || word.ends_with("bl") || word.ends_with("iz");
  if (!lacks_e && ends_in_double_consonant(word)) {
    const char last = word.back();
    if (last != 'l' && last != 's' && last != 'z') word.pop_back();
  } else if (lacks_e || (measure(word) == 1 && ends_in_short_syllable(word))) {
    word += 'e';
  }
}

void step_1c(std::string& word) {
  if (word.size() > 2 && word.back() == 'y' && is_consonant(word, word.size() - 2)) {
    word.back() = 'i';
  }
}

// Double suffixes.
void step_2(std::string& word) {
  static constexpr std::array<Rule, 21> rules{{
      {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},
      {"izer", "ize"},    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"},
      {"eli", "e"},       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},
      {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"},
      {"ousness", "ous"}, {"aliti", "al"},    {"iviti", "ive"},   {"biliti", "ble"},
      {"fulli", "ful"},
  }};
  if (word.ends_with("alli") && measure(without_last(word, 4)) > 0) replace_end(word, 4, "al");
  if (word.ends_with("logi")) {
    // NLTK counts the l among the stem's letters.
    if (measure(without_last(word, 3)) > 0) word.pop_back();
    return;
  }
  apply_first(word, rules,
              [](std::string_view stem, const Rule& /*rule*/) { return measure(stem) > 0; });
}

void step_3(std::string& word) {
  static constexpr std::array<Rule, 7> rules{{{"icate", "ic"},
                                              {"ative", ""},
                                              {"alize", "al"},
                                              {"iciti", "ic"},
                                              {"ical", "ic"},
                                              {"ful", ""},
                                              {"ness", ""}}};
  apply_first(word, rules,
              [](std::string_view stem, const Rule& /*rule*/) { return measure(stem) > 0; });
}

// Single suffixes.
void step_4(std::string& word) {
  static constexpr std::array<Rule, 19> rules{{{"al", ""},
                                               {"ance", ""},
                                               {"ence", ""},
                                               {"er", ""},
                                               {"ic", ""},
                                               {"able", ""},
                                               {"ible", ""},
                                               {"ant", ""},
                                               {"ement", ""},
                                               {"ment", ""},
                                               {"ent", ""},
                                               {"ion", ""},
                                               {"ou", ""},
                                               {"ism", ""},
                                               {"ate", ""},
                                               {"iti", ""},
                                               {"ous", ""},
                                               {"ive", ""},
                                               {"ize", ""}}};
  apply_first(word, rules, [](std::string_view stem, const Rule& rule) {
    if (measure(stem) <= 1) return false;
    return rule.suffix != "ion" || stem.back() == 's' || stem.back() == 't';
  });
}

void step_5(std::string& word) {
  if (word.ends_with('e')) {
    const std::string_view stem = without_last(word, 1);
    const int m = measure(stem);
    if (m > 1 || (m == 1 && !ends_in_short_syllable(stem))) word.pop_back();
  }
  if (word.ends_with("ll") && measure(without_last(word, 1)) > 1) word.pop_back();
}

// Words that the rules would take apart.
constexpr std::array<std::pair<std::string_view, std::string_view>, 16> irregular_words{{
    {"sky", "sky"},
    {"skies", "sky"},
    {"dying", "die"},
    {"lying", "lie"},
    {"tying", "tie"},
    {"news", "news"},
    {"innings", "inning"},
    {"inning", "inning"},
    {"outings", "outing"},
    {"outing", "outing"},
    {"cannings", "canning"},
    {"canning", "canning"},
    {"howe", "howe"},
    {"proceed", "proceed"},
    {"exceed", "exceed"},
    {"succeed", "succeed"},
}};

}  // namespace

std::string porter_stem(std::string_view word) {
  for (const auto& [irregular, stem] : irregular_words) {
    if (word == irregular) return std::string(stem);
  }
  std::string stem(word);
  if (word.size() <= 2) return stem;
  step_1a(stem);
  step_1b(stem);
  step_1c(stem);
  step_2(stem);
  step_3(stem);
  step_4(stem);
  step_5(stem);
  return stem;
}

}  // namespace fathom
