#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"

namespace fathom {

/// Memory for many pieces that live as long as the arena, in few large chunks: on huge pages, which
/// pieces of their own would be too small for. Moves; does not copy.
class Arena {
 public:
  /// Aligned to cache lines, not initialised.
  std::span<std::byte> allocate(std::size_t bytes);

 private:
  std::vector<AlignedBuffer<std::byte>> chunks_;
  std::size_t used_ = 0;  // of the last chunk
};

}  // namespace fathom
