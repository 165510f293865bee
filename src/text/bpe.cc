#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace fathom {
namespace {

/// Up to this many symbols, scanning all pairs is faster than keeping a heap.
constexpr std::size_t short_word = 32;

constexpr TokenId gone{-1};

constexpr std::uint64_t free_slot = ~std::uint64_t{0};

std::uint64_t key_of(char32_t left, char32_t right) {
  return static_cast<std::uint64_t>(left) << 32U | right;
}

/// The place of a key in a table whose size is a power of 2 above 1.
std::size_t home_of(std::uint64_t key, std::size_t table_size) {
  const std::uint64_t mixed = (key ^ key >> 29U) * 0x9E3779B97F4A7C15U;
  return mixed >> (64 - std::bit_width(table_size - 1));
}

}  // namespace

MergeTable::MergeTable(std::size_t count)
    : slots_(std::bit_ceil(std::max<std::size_t>(2 * count, 16))) {}

std::size_t MergeTable::slot_of(TokenId left, TokenId right) const {
  const std::uint64_t key = static_cast<std::uint64_t>(left.index()) << 32U | right.index();
  std::size_t i = home_of(key, slots_.size());
  while (slots_[i].left != gone && (slots_[i].left != left || slots_[i].right != right)) {
    i = (i + 1) & (slots_.size() - 1);
  }
  return i;
}

void MergeTable::add(TokenId left, TokenId right, Merge merge) {
  if (2 * (used_ + 1) > slots_.size()) grow();
  Slot& slot = slots_[slot_of(left, right)];
  if (slot.left == gone) ++used_;
  slot = {left, right, merge};
}

void MergeTable::grow() {
  std::vector<Slot> old(2 * slots_.size());
  std::swap(old, slots_);
  for (const Slot& slot : old) {
    if (slot.left != gone) slots_[slot_of(slot.left, slot.right)] = slot;
  }
}

std::optional<MergeTable::Merge> MergeTable::find(TokenId left, TokenId right) const {
  const Slot& slot = slots_[slot_of(left, right)];
  if (slot.left == gone) return std::nullopt;
  return slot.merge;
}

std::size_t Joints::slot_of(std::uint64_t key) const {
  std::size_t i = home_of(key, slots_.size());
  while (slots_[i] != free_slot && slots_[i] != key) i = (i + 1) & (slots_.size() - 1);
  return i;
}

void Joints::add(char32_t left, char32_t right) {
  if (2 * (used_ + 1) > slots_.size()) {
    std::vector<std::uint64_t> old(std::max<std::size_t>(2 * slots_.size(), 16), free_slot);
    std::swap(old, slots_);
    for (const std::uint64_t key : old) {
      if (key != free_slot) slots_[slot_of(key)] = key;
    }
  }
  std::uint64_t& slot = slots_[slot_of(key_of(left, right))];
  if (slot == free_slot) ++used_;
  slot = key_of(left, right);
}

bool Joints::contains(char32_t left, char32_t right) const {
  return !slots_.empty() && slots_[slot_of(key_of(left, right))] != free_slot;
}

void PairMerger::merge(const MergeTable& table, std::vector<TokenId>& symbols) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= short_word) {
    merge_short(table, symbols);
  } else {
    merge_long(table, symbols);
  }
}

void PairMerger::merge_short(const MergeTable& table, std::vector<TokenId>& symbols) {
  pairs_.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    pairs_.push_back(table.find(symbols[i], symbols[i + 1]));
  }
  for (;;) {
    const auto best = std::min_element(
        pairs_.begin(), pairs_.end(),
        [](const auto& a, const auto& b) { return a && (!b || a->rank < b->rank); });
    if (best == pairs_.end() || !*best) return;
    const auto at = best - pairs_.begin();
    symbols[static_cast<std::size_t>(at)] = (*best)->merged;
    symbols.erase(symbols.begin() + at + 1);
    pairs_.erase(best);
    const auto i = static_cast<std::size_t>(at);
    if (i > 0) pairs_[i - 1] = table.find(symbols[i - 1], symbols[i]);
    if (i < pairs_.size()) pairs_[i] = table.find(symbols[i], symbols[i + 1]);
  }
}

void PairMerger::merge_long(const MergeTable& table, std::vector<TokenId>& symbols) {
  const std::size_t end = symbols.size();
  links_.clear();
  heap_.clear();
  for (std::size_t i = 0; i < end; ++i) links_.push_back({i == 0 ? end : i - 1, i + 1});
  for (std::size_t i = 0; i + 1 < end; ++i) consider(table, symbols, i);
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  std::make_heap(heap_.begin(), heap_.end(), later);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Candidate best = heap_.back();
    heap_.pop_back();
    const std::size_t next = links_[best.at].after;
    // Stale if either symbol was joined to another since.
    if (symbols[best.at] != best.left || next == end || symbols[next] != best.right) continue;
    symbols[best.at] = best.merged;
    symbols[next] = gone;
    const std::size_t after = links_[next].after;
    links_[best.at].after = after;
    if (after != end) links_[after].before = best.at;
    for (const std::size_t left : {links_[best.at].before, best.at}) {
      if (left == end || links_[left].after == end) continue;
      const std::size_t size = heap_.size();
      consider(table, symbols, left);
      if (heap_.size() != size) std::push_heap(heap_.begin(), heap_.end(), later);
    }
  }
  std::erase(symbols, gone);
}

void PairMerger::consider(const MergeTable& table, const std::vector<TokenId>& symbols,
                          std::size_t at) {
  const TokenId left = symbols[at];
  const TokenId right = symbols[links_[at].after];
  if (const auto merge = table.find(left, right)) {
    heap_.push_back({merge->rank, at, left, right, merge->merged});
  }
}

}  // namespace fathom
