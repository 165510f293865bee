#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cache_pool.h"
#include "kernels/kernels.h"
#include "model/language_model.h"
#include "model/model_config.h"

namespace fathom {

/// How the keys and values of 64 positions of one layer lie in a block: for each key/value head its
/// keys, then for each its values, as kernels/attention.h says.
struct CacheLayout {
  std::size_t layers = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t value_stride = 0;  ///< head_dim rounded up to 16
  CacheElement element = CacheElement::half;

  CacheLayout(const ModelConfig& config, CacheElement element);
  [[nodiscard]] std::size_t key_offset(std::size_t kv_head) const;    ///< in bytes
  [[nodiscard]] std::size_t value_offset(std::size_t kv_head) const;  ///< in bytes
  [[nodiscard]] std::size_t block_bytes() const;
};

/// The engine's cache. Blocks are made when their first position is written, so a layer that no
/// token runs takes no memory; forks share them until one side writes.
class BlockKvCache final : public KvCache {
 public:
  /// `pool` gives blocks of the layout's size.
  BlockKvCache(const CacheLayout& layout, std::shared_ptr<CachePool> pool, std::size_t capacity);

  [[nodiscard]] std::size_t length() const override { return length_; }
  [[nodiscard]] std::size_t capacity() const override { return capacity_; }
  [[nodiscard]] std::size_t valid_length(LayerIndex layer) const override {
    return valid_[layer.index()];
  }
  [[nodiscard]] std::unique_ptr<KvCache> fork() const override;
  void truncate(std::size_t length) override;
  [[nodiscard]] std::size_t bytes() const override;

  // For the forward pass. It writes a layer's positions valid_length(layer) ... in order and reads
  // them in the same pass, then adds to the length.

  /// Makes room for `count` more positions of a layer, in blocks of its own, and counts them valid.
  void extend(LayerIndex layer, std::size_t count);
  /// Stores the rotated keys and the values, [kv_heads * head_dim] each, of one position. Different
  /// positions may be stored from different threads.
  void store(const Kernels& kernels, LayerIndex layer, std::size_t position, const float* keys,
             const float* values);
  /// The layer's blocks, as the attention kernels read them. Valid until the next extend.
  [[nodiscard]] std::span<const std::byte* const> blocks(LayerIndex layer) const;
  /// Adds positions to the sequence, whichever layers they ran.
  void advance(std::size_t count) { length_ += count; }
  /// Takes back what extend() did since the last advance().
  void roll_back() { truncate(length_); }

 private:
  struct Layer {
    std::vector<std::shared_ptr<std::byte>> blocks;
    std::vector<const std::byte*> pointers;  // of the blocks
  };

  CacheLayout layout_;
  std::shared_ptr<CachePool> pool_;
  std::size_t capacity_;
  std::size_t length_ = 0;
  std::vector<std::size_t> valid_;  // for each layer
  std::vector<Layer> layers_;
};

}  // namespace fathom
