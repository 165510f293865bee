#include "metrics/rouge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>

#include "metrics/common_subsequence.h"
#include "metrics/porter_stemmer.h"

namespace fathom {
namespace {

constexpr std::size_t longest_unstemmed = 3;

struct Letter {
  char lower = 0;  // a-z or 0-9; 0 if what stands here separates words
  std::size_t bytes = 1;
};

// The first letter of a text that is not empty. Two characters outside ASCII have a lower case that
// begins with an ASCII letter: U+0130 (I with a dot above: an i and a combining dot) and U+212A
// (the Kelvin sign: k).
Letter first_letter(std::string_view text) {
  const char c = text.front();
  if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return {c, 1};
  if (c >= 'A' && c <= 'Z') return {static_cast<char>(c - 'A' + 'a'), 1};
  if (text.starts_with("\xC4\xB0")) return {'i', 2};
  if (text.starts_with("\xE2\x84\xAA")) return {'k', 3};
  return {};
}

// Whether the letter's lower case has more after it, which separates.
bool ends_word(std::string_view text) { return text.starts_with("\xC4\xB0"); }

// Calls add(word) for each word.
template <class Add>
void for_each_word(std::string_view text, Stemming stemming, Add add) {
  std::string word;
  const auto finish = [&] {
    if (word.empty()) return;
    const bool stem = stemming == Stemming::porter && word.size() > longest_unstemmed;
    add(stem ? porter_stem(word) : word);
    word.clear();
  };
  while (!text.empty()) {
    const Letter letter = first_letter(text);
    if (letter.lower != 0) word += letter.lower;
    if (letter.lower == 0 || ends_word(text)) finish();
    text.remove_prefix(letter.bytes);
  }
  finish();
}

// Words by number, each text's lines after each other.
using Words = std::span<const std::uint32_t>;

struct NumberedText {
  std::vector<std::uint32_t> words;
  std::vector<std::size_t> line_ends;  // of the lines that have words

  [[nodiscard]] std::vector<Words> lines() const {
    std::vector<Words> result;
    std::size_t begin = 0;
    for (const std::size_t end : line_ends) {
      result.push_back(Words(words).subspan(begin, end - begin));
      begin = end;
    }
    return result;
  }
};

// Gives every word that it has not seen the next number.
class Numbering {
 public:
  NumberedText number(std::string_view text, Stemming stemming) {
    NumberedText numbered;
    while (true) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      for_each_word(text.substr(0, end), stemming, [&](const std::string& word) {
        const auto next = static_cast<std::uint32_t>(numbers_.size());
        numbered.words.push_back(numbers_.try_emplace(word, next).first->second);
      });
      if (numbered.words.size() > (numbered.line_ends.empty() ? 0 : numbered.line_ends.back())) {
        numbered.line_ends.push_back(numbered.words.size());
      }
      if (end == text.size()) return numbered;
      text.remove_prefix(end + 1);
    }
  }
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(numbers_.size()); }

 private:
  std::unordered_map<std::string, std::uint32_t> numbers_;
};

// The scores of `common` units out of those of both; the order of operations is rouge-score's.
RougeScore score_of(std::size_t common, std::size_t in_prediction, std::size_t in_reference) {
  if (in_prediction == 0 || in_reference == 0) return {};
  RougeScore score{.precision = static_cast<double>(common) / static_cast<double>(in_prediction),
                   .recall = static_cast<double>(common) / static_cast<double>(in_reference)};
  if (score.precision + score.recall > 0) {
    score.f1 = 2 * score.precision * score.recall / (score.precision + score.recall);
  }
  return score;
}

// The words, or pairs of neighbours, ascending; each as one number.
std::vector<std::uint64_t> sorted_words(Words words) {
  std::vector<std::uint64_t> sorted(words.begin(), words.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

std::vector<std::uint64_t> sorted_pairs(Words words) {
  std::vector<std::uint64_t> sorted;
  for (std::size_t i = 1; i < words.size(); ++i) {
    sorted.push_back(std::uint64_t{words[i - 1]} << 32U | words[i]);
  }
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

// Multisets of units.
RougeScore overlap(std::span<const std::uint64_t> prediction,
                   std::span<const std::uint64_t> reference) {
  std::size_t common = 0;
  auto p = prediction.begin();
  auto r = reference.begin();
  while (p != prediction.end() && r != reference.end()) {
    if (*p == *r) {
      ++common;
      ++p;
      ++r;
    } else if (*p < *r) {
      ++p;
    } else {
      ++r;
    }
  }
  return score_of(common, prediction.size(), reference.size());
}

RougeScore union_of_lines(const NumberedText& prediction, const NumberedText& reference,
                          std::uint32_t symbols, CommonSubsequence& matcher) {
  // Each word counts at most as often as either text has it.
  std::vector<std::uint32_t> left_in_prediction(symbols);
  std::vector<std::uint32_t> left_in_reference(symbols);
  for (const std::uint32_t word : prediction.words) ++left_in_prediction[word];
  for (const std::uint32_t word : reference.words) ++left_in_reference[word];

  const std::vector<Words> prediction_lines = prediction.lines();
  std::vector<std::uint8_t> marks;
  std::size_t hits = 0;
  for (const Words line : reference.lines()) {
    matcher.set_pattern(line);
    marks.assign(line.size(), 0);
    for (const Words other : prediction_lines) matcher.mark(other, marks);
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::uint32_t word = line[i];
      if (marks[i] == 0 || left_in_prediction[word] == 0 || left_in_reference[word] == 0) continue;
      --left_in_prediction[word];
      --left_in_reference[word];
      ++hits;
    }
  }
  return score_of(hits, prediction.words.size(), reference.words.size());
}

}  // namespace

RougeScores rouge(std::string_view prediction, std::string_view reference, Stemming stemming) {
  Numbering numbering;
  const NumberedText predicted = numbering.number(prediction, stemming);
  const NumberedText expected = numbering.number(reference, stemming);
  CommonSubsequence matcher(numbering.size());
  RougeScores scores{.rouge1 = overlap(sorted_words(predicted.words), sorted_words(expected.words)),
                     .rouge2 = overlap(sorted_pairs(predicted.words), sorted_pairs(expected.words)),
                     .rouge_l = {},
                     .rouge_lsum = {}};
  matcher.set_pattern(expected.words);
  scores.rouge_l =
      score_of(matcher.length(predicted.words), predicted.words.size(), expected.words.size());
  scores.rouge_lsum = union_of_lines(predicted, expected, numbering.size(), matcher);
  return scores;
}

std::vector<std::string> rouge_words(std::string_view text, Stemming stemming) {
  std::vector<std::string> words;
  for_each_word(text, stemming, [&](std::string word) { words.push_back(std::move(word)); });
  return words;
}

}  // namespace fathom
