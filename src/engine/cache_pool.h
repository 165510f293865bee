#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "base/aligned_buffer.h"

namespace fathom {

/// Memory for the blocks of KV caches, cut from large pieces: attention reads all of it for every
/// token, which huge pages make faster, and blocks are too small for pages of their own. What is
/// given back is handed out again; the memory goes when the pool and all blocks have gone.
class CachePool : public std::enable_shared_from_this<CachePool> {
 public:
  static std::shared_ptr<CachePool> create(std::size_t block_bytes);

  /// A block, all bytes zero. From any thread.
  std::shared_ptr<std::byte> allocate();
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }

 private:
  explicit CachePool(std::size_t block_bytes) : block_bytes_(block_bytes) {}
  std::byte* take();
  void give_back(std::byte* block);

  std::size_t block_bytes_;
  std::mutex mutex_;
  std::vector<AlignedBuffer<std::byte>> pieces_;
  std::size_t used_ = 0;  // of the last piece
  std::vector<std::byte*> free_;
};

}  // namespace fathom
