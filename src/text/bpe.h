#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/strong_types.h"

namespace fathom {

/// The merges of a byte-pair encoding: which neighbours join, in which order, to what.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank;  ///< lower ones join first
    TokenId merged;
  };

  /// Room for `count` merges; more can be added.
  explicit MergeTable(std::size_t count);

  /// A pair that is added again takes the new rank. Ids must not be negative.
  void add(TokenId left, TokenId right, Merge merge);

  [[nodiscard]] std::optional<Merge> find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    TokenId left{-1};  // -1: the slot is free
    TokenId right{-1};
    Merge merge{};
  };

  [[nodiscard]] std::size_t slot_of(TokenId left, TokenId right) const;
  void grow();

  // Open addressing with linear probing: a look-up usually reads one cache line.
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

/// Where merges can join: the last character of a left token with the first of a right one. A place
/// in a text that is none of these stays a boundary between tokens whatever the merges do, so what
/// lies on its two sides can be merged by itself.
class Joints {
 public:
  void add(char32_t left, char32_t right);
  [[nodiscard]] bool contains(char32_t left, char32_t right) const;

 private:
  [[nodiscard]] std::size_t slot_of(std::uint64_t key) const;

  std::vector<std::uint64_t> slots_;  // open addressing; a free one holds what no pair gives
  std::size_t used_ = 0;
};

/// Joins neighbours until no merge applies: again and again the pair of the lowest rank, the
/// leftmost among equals. Keeps its memory between words, so one object serves one thread.
class PairMerger {
 public:
  /// Takes O(n log n) steps for n symbols. Shortens `symbols` to what is left.
  void merge(const MergeTable& table, std::vector<TokenId>& symbols);

 private:
  struct Link {
    std::size_t before;
    std::size_t after;
  };
  struct Candidate {
    std::uint32_t rank;
    std::size_t at;  // of the left symbol
    TokenId left;    // the pair as it was when the candidate was found
    TokenId right;
    TokenId merged;
  };

  void merge_short(const MergeTable& table, std::vector<TokenId>& symbols);
  void merge_long(const MergeTable& table, std::vector<TokenId>& symbols);
  void consider(const MergeTable& table, const std::vector<TokenId>& symbols, std::size_t at);

  std::vector<std::optional<MergeTable::Merge>> pairs_;
  std::vector<Link> links_;
  std::vector<Candidate> heap_;
};

}  // namespace fathom
