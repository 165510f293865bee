#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/strong_types.h"

namespace fathom {

/// For tests: ids that the tiny models of golden/ have, others for another `first`.
inline std::vector<TokenId> some_tokens(std::size_t count, std::int32_t first) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i) {
    tokens.emplace_back(
        static_cast<std::int32_t>((static_cast<std::size_t>(first) + 37 * i) % 380));
  }
  return tokens;
}

}  // namespace fathom
