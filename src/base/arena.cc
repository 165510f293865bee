#include "base/arena.h"

#include <algorithm>

namespace fathom {

std::span<std::byte> Arena::allocate(std::size_t bytes) {
  constexpr std::size_t cache_line = 64;
  // Memory that is never touched costs nothing, so a chunk may be generous.
  constexpr std::size_t chunk_size = std::size_t{64} << 20;
  if (chunks_.empty() || chunks_.back().size() - used_ < bytes) {
    chunks_.emplace_back(std::max(chunk_size, bytes));
    used_ = 0;
  }
  const std::span<std::byte> piece = chunks_.back().span().subspan(used_, bytes);
  used_ =
      std::min((used_ + bytes + cache_line - 1) / cache_line * cache_line, chunks_.back().size());
  return piece;
}

}  // namespace fathom
