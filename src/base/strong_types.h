#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace fathom {

/// An integer that only mixes with its own kind. `Tag` names the kind.
template <class Tag, class Rep>
struct StrongIndex {
  Rep value = 0;

  constexpr StrongIndex() = default;
  constexpr explicit StrongIndex(Rep v) : value(v) {}
  constexpr auto operator<=>(const StrongIndex&) const = default;  // NOLINT(modernize-use-nullptr)
  constexpr StrongIndex& operator++() {
    ++value;
    return *this;
  }
  /// The value as a subscript; it must not be negative.
  [[nodiscard]] constexpr std::size_t index() const { return static_cast<std::size_t>(value); }
};

/// A decoder layer, counted from 0. People see layers counted from 1: `number()`.
struct LayerIndex : StrongIndex<LayerIndex, std::int32_t> {
  using StrongIndex::StrongIndex;
  [[nodiscard]] constexpr std::int32_t number() const { return value + 1; }
};

/// An entry of the vocabulary, from 0.
struct TokenId : StrongIndex<TokenId, std::int32_t> {
  using StrongIndex::StrongIndex;
};

/// A token's place in its sequence, from 0.
struct Position : StrongIndex<Position, std::int32_t> {
  using StrongIndex::StrongIndex;
};

}  // namespace fathom

template <>
struct std::hash<fathom::TokenId> {
  std::size_t operator()(fathom::TokenId id) const noexcept {
    return std::hash<std::int32_t>{}(id.value);
  }
};
