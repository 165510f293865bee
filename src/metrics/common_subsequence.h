#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fathom {

/// Longest common subsequences of one sequence, the pattern, with others, 64 of the pattern's
/// places at a time [Hyyro 2004]. Elements are numbers below a bound, so that texts are matched by
/// words. Time is (length of the other) x (length of the pattern / 64).
class CommonSubsequence {
 public:
  /// For sequences of elements 0 to `symbols` - 1.
  explicit CommonSubsequence(std::uint32_t symbols);

  /// `pattern` must stay as it is for as long as it is matched.
  void set_pattern(std::span<const std::uint32_t> pattern);

  /// The length of a longest common subsequence of the pattern and `other`.
  [[nodiscard]] std::size_t length(std::span<const std::uint32_t> other);

  /// Sets marks[i] for each place i of the pattern that is on one longest common subsequence with
  /// `other`; `marks` is as long as the pattern. Of several it is the one found from the ends of
  /// both: equal elements are taken; else the pattern's last place is given up if that loses
  /// nothing, and otherwise the last one of `other`. Memory grows with the square root of `other`.
  void mark(std::span<const std::uint32_t> other, std::span<std::uint8_t> marks);

 private:
  void start();
  void advance(std::uint32_t symbol);

  static constexpr std::uint32_t none = UINT32_MAX;
  std::span<const std::uint32_t> pattern_;
  std::vector<std::uint32_t> first_;  // by symbol: its first place in the pattern, or none
  std::vector<std::uint32_t> next_;   // by place: the symbol's next one, or none
  // Bit i is clear if the pattern's places 0..i have one more in common with what has been read of
  // the other than places 0..i-1 have.
  std::vector<std::uint64_t> column_;
  std::vector<std::uint64_t> matches_;  // all zero between calls
  std::vector<std::uint64_t> checkpoints_;
  std::vector<std::uint64_t> block_;
};

}  // namespace fathom
