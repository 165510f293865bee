#include "text/token_table.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace fathom {
namespace {

constexpr TokenId unused{-1};

std::uint64_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }

}  // namespace

TokenTexts::TokenTexts(std::size_t count, std::size_t bytes) {
  bytes_.reserve(bytes);
  ends_.reserve(count);
}

void TokenTexts::push_back(std::string_view text) {
  bytes_ += text;
  ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
}

std::string_view TokenTexts::operator[](TokenId id) const {
  const std::size_t begin = id.value == 0 ? 0 : ends_[id.index() - 1];
  return std::string_view(bytes_).substr(begin, ends_[id.index()] - begin);
}

TokenIndex::TokenIndex(std::size_t count)
    : slots_(std::bit_ceil(std::max<std::size_t>(2 * count, 16))) {}

std::size_t TokenIndex::slot_of(const TokenTexts& texts, std::string_view text,
                                std::uint64_t hash) const {
  // The lower half of the hash chooses the place, the upper half is kept to compare.
  std::size_t i = hash & (slots_.size() - 1);
  const auto is_it = [&](const Slot& slot) {
    return slot.hash == hash >> 32U && slot.size == text.size() &&
           texts.all().substr(slot.begin, slot.size) == text;
  };
  while (slots_[i].id != unused && !is_it(slots_[i])) i = (i + 1) & (slots_.size() - 1);
  return i;
}

std::optional<TokenId> TokenIndex::find(const TokenTexts& texts, std::string_view text) const {
  const Slot& slot = slots_[slot_of(texts, text, hash_of(text))];
  if (slot.id == unused) return std::nullopt;
  return slot.id;
}

std::optional<TokenId> TokenIndex::insert(const TokenTexts& texts, TokenId id) {
  const std::uint64_t hash = hash_of(texts[id]);
  Slot& slot = slots_[slot_of(texts, texts[id], hash)];
  if (slot.id != unused) return slot.id;
  const std::string_view text = texts[id];
  slot = {static_cast<std::uint32_t>(hash >> 32U), id,
          static_cast<std::uint32_t>(text.data() - texts.all().data()),
          static_cast<std::uint32_t>(text.size())};
  return std::nullopt;
}

}  // namespace fathom
