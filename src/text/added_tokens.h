#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_types.h"
#include "text/special_tokens.h"

namespace fathom {

/// A token that is found in the text itself before anything else is done to it.
struct AddedToken {
  std::string content;
  TokenId id;
  bool special = false;      ///< marks up the text, as the end of a turn does
  bool single_word = false;  ///< only where no character of a word stands beside it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool normalized = false;   ///< sought in the normalised text
};

/// A stretch of a text: an added token, or text in between.
struct Section {
  std::string_view text;  ///< empty if it is an added token
  std::optional<TokenId> token;
};

/// Finds added tokens in texts: from the left, at each place the longest.
class AddedTokenFinder {
 public:
  /// Texts of tokens must not be empty. Of equal ones the first is found.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// Appends the sections of `text` (UTF-8) in order. With `as_text` a special token's text becomes
  /// part of the text around it.
  void cut(std::string_view text, SpecialTokens special, std::vector<Section>& sections) const;

 private:
  struct Node {
    std::uint8_t byte = 0;
    std::uint32_t first_child = 0;   // 0: none
    std::uint32_t next_sibling = 0;  // 0: none
    std::optional<std::uint32_t> token;
  };

  void insert(std::uint32_t token);
  [[nodiscard]] std::uint32_t child(std::uint32_t node, std::uint8_t byte) const;
  [[nodiscard]] const AddedToken* longest_at_front(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;  // a trie of the tokens' bytes; node 0 is the root
  std::array<bool, 256> begins_token_{};
};

}  // namespace fathom
