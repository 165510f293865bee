#include "engine/cache_pool.h"

#include <algorithm>
#include <cstring>

namespace fathom {

std::shared_ptr<CachePool> CachePool::create(std::size_t block_bytes) {
  constexpr std::size_t cache_line = 64;
  const std::size_t rounded = (block_bytes + cache_line - 1) / cache_line * cache_line;
  return std::shared_ptr<CachePool>(new CachePool(rounded));
}

std::shared_ptr<std::byte> CachePool::allocate() {
  std::byte* const block = take();
  std::memset(block, 0, block_bytes_);
  return {block, [pool = shared_from_this()](std::byte* freed) { pool->give_back(freed); }};
}

std::byte* CachePool::take() {
  // Large enough for huge pages. What is never touched costs nothing.
  constexpr std::size_t piece_bytes = std::size_t{8} << 20;
  const std::scoped_lock lock(mutex_);
  if (!free_.empty()) {
    std::byte* const block = free_.back();
    free_.pop_back();
    return block;
  }
  if (pieces_.empty() || pieces_.back().size() - used_ < block_bytes_) {
    pieces_.emplace_back(std::max(piece_bytes, block_bytes_));
    free_.reserve(free_.capacity() + pieces_.back().size() / block_bytes_);
    used_ = 0;
  }
  std::byte* const block = pieces_.back().data() + used_;
  used_ += block_bytes_;
  return block;
}

void CachePool::give_back(std::byte* block) {
  const std::scoped_lock lock(mutex_);
  free_.push_back(block);
}

}  // namespace fathom
