#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_types.h"

namespace fathom {

/// The texts of tokens by id, in one block of memory.
class TokenTexts {
 public:
  static constexpr std::size_t most_bytes = std::numeric_limits<std::uint32_t>::max();

  /// Room for `count` texts of `bytes` bytes together; more can be added, up to most_bytes.
  TokenTexts(std::size_t count, std::size_t bytes);

  void push_back(std::string_view text);
  [[nodiscard]] std::size_t size() const { return ends_.size(); }
  /// The text of a token; its id must be below size().
  [[nodiscard]] std::string_view operator[](TokenId id) const;
  /// All texts one after another.
  [[nodiscard]] std::string_view all() const { return bytes_; }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> ends_;
};

/// The ids of texts.
class TokenIndex {
 public:
  /// Room for `count` texts, no more.
  explicit TokenIndex(std::size_t count);

  /// The id of a text among `texts`, the same for every call.
  [[nodiscard]] std::optional<TokenId> find(const TokenTexts& texts, std::string_view text) const;

  /// Enters the text of `id`. If an equal text has an id already, returns that and changes nothing.
  std::optional<TokenId> insert(const TokenTexts& texts, TokenId id);

 private:
  struct Slot {
    std::uint32_t hash = 0;
    TokenId id{-1};  // -1: the slot is free
    // Where the text lies, so that a look-up reads the slot and the text and nothing else.
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };

  [[nodiscard]] std::size_t slot_of(const TokenTexts& texts, std::string_view text,
                                    std::uint64_t hash) const;

  std::vector<Slot> slots_;  // open addressing with linear probing
};

}  // namespace fathom
