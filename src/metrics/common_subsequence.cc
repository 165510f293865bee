#include "metrics/common_subsequence.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace fathom {
namespace {

constexpr std::size_t word_bits = 64;

bool bit(std::span<const std::uint64_t> words, std::size_t i) {
  return ((words[i / word_bits] >> (i % word_bits)) & 1U) != 0;
}

}  // namespace

CommonSubsequence::CommonSubsequence(std::uint32_t symbols) : first_(symbols, none) {}

void CommonSubsequence::set_pattern(std::span<const std::uint32_t> pattern) {
  for (const std::uint32_t symbol : pattern_) first_[symbol] = none;
  pattern_ = pattern;
  next_.resize(pattern.size());
  for (std::size_t i = pattern.size(); i-- > 0;) {
    next_[i] = first_[pattern[i]];
    first_[pattern[i]] = static_cast<std::uint32_t>(i);
  }
  const std::size_t words = (pattern.size() + word_bits - 1) / word_bits;
  column_.resize(words);
  matches_.assign(words, 0);
}

void CommonSubsequence::start() { std::fill(column_.begin(), column_.end(), ~std::uint64_t{0}); }

// column = (column + (column & matches)) | (column & ~matches), over all words with carry.
void CommonSubsequence::advance(std::uint32_t symbol) {
  const std::uint32_t first = first_[symbol];
  if (first == none) return;
  for (std::uint32_t i = first; i != none; i = next_[i]) {
    matches_[i / word_bits] |= std::uint64_t{1} << (i % word_bits);
  }
  std::uint64_t carry = 0;
  for (std::size_t w = first / word_bits; w < column_.size(); ++w) {
    const std::uint64_t old = column_[w];
    const std::uint64_t matched = old & matches_[w];
    const std::uint64_t with_carry = old + carry;
    const std::uint64_t sum = with_carry + matched;
    carry = (with_carry < carry || sum < matched) ? 1 : 0;
    column_[w] = sum | (old & ~matches_[w]);
  }
  for (std::uint32_t i = first; i != none; i = next_[i]) matches_[i / word_bits] = 0;
}

std::size_t CommonSubsequence::length(std::span<const std::uint32_t> other) {
  start();
  for (const std::uint32_t symbol : other) advance(symbol);
  std::size_t common = 0;
  for (std::size_t w = 0; w < column_.size(); ++w) {
    const std::size_t places = std::min(word_bits, pattern_.size() - w * word_bits);
    const std::uint64_t used = ~std::uint64_t{0} >> (word_bits - places);
    common += static_cast<std::size_t>(std::popcount(~column_[w] & used));
  }
  return common;
}

void CommonSubsequence::mark(std::span<const std::uint32_t> other, std::span<std::uint8_t> marks) {
  const std::size_t words = column_.size();
  if (words == 0 || other.empty()) return;
  // The way is walked from the end, so the columns are made twice: once to keep some, and then
  // again from each of these to the next.
  const auto size = static_cast<std::size_t>(std::ceil(std::sqrt(other.size())));
  checkpoints_.clear();
  start();
  for (std::size_t j = 0; j < other.size(); ++j) {
    if (j % size == 0) checkpoints_.insert(checkpoints_.end(), column_.begin(), column_.end());
    advance(other[j]);
  }
  std::size_t i = pattern_.size();  // places still to walk over, of both
  std::size_t j = other.size();
  for (std::size_t b = checkpoints_.size() / words; b-- > 0 && i > 0;) {
    const std::size_t begin = b * size;
    const auto checkpoint = checkpoints_.begin() + static_cast<std::ptrdiff_t>(b * words);
    std::copy_n(checkpoint, words, column_.begin());
    block_.clear();
    for (std::size_t k = begin; k < j; ++k) {
      advance(other[k]);
      block_.insert(block_.end(), column_.begin(), column_.end());
    }
    while (j > begin && i > 0) {
      if (pattern_[i - 1] == other[j - 1]) {
        marks[--i] = 1;
        --j;
      } else if (bit(std::span(block_).subspan((j - 1 - begin) * words, words), i - 1)) {
        --i;
      } else {
        --j;
      }
    }
  }
}

}  // namespace fathom
