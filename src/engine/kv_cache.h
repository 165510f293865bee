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
  std::size_t width = 0;  ///< of a hidden state
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t value_stride = 0;  ///< head_dim rounded up to 16
  CacheElement element = CacheElement::half;

  CacheLayout(const ModelConfig& config, CacheElement element);
  [[nodiscard]] std::size_t key_offset(std::size_t kv_head) const;    ///< in bytes
  [[nodiscard]] std::size_t value_offset(std::size_t kv_head) const;  ///< in bytes
  [[nodiscard]] std::size_t block_bytes() const;
};

/// A state that layers were skipped with, whose keys and values are still to be formed of it.
struct OwedState {
  std::size_t position;
  LayerIndex first, end;  ///< the layers, which follow one another
  std::shared_ptr<const float[]> values;
};

/// The engine's cache. Blocks are made when their first position is written, so a layer that no
/// token runs takes no memory; forks share them until one side writes. What skipped layers owe
/// waits as the states that they were skipped with, one for each run of layers; forks share those.
class BlockKvCache final : public KvCache {
 public:
  /// `pool` gives blocks of the layout's size.
  BlockKvCache(const CacheLayout& layout, std::shared_ptr<CachePool> pool, std::size_t capacity);

  [[nodiscard]] std::size_t length() const override { return length_; }
  [[nodiscard]] std::size_t capacity() const override { return capacity_; }
  [[nodiscard]] std::size_t valid_length(LayerIndex layer) const override {
    return valid_[layer.index()];
  }
  [[nodiscard]] std::size_t full_depth_length() const override;
  [[nodiscard]] std::unique_ptr<KvCache> fork() const override;
  void truncate(std::size_t length) override;
  [[nodiscard]] std::size_t bytes() const override;

  // For the forward pass. At each layer it notes who runs and who owes, in the order of the
  // positions, stores what is missing up to the last that runs, reads, and says so; at the end it
  // adds to the length.

  /// Notes that the position valid_length(layer) runs the layer.
  void note_run(LayerIndex layer);
  /// Notes that the position valid_length(layer) skips the layer with this state, and owes its keys
  /// and values.
  void note_owed(LayerIndex layer, std::span<const float> state);
  /// Positions from 0 that have keys and values stored; those up to valid_length(layer) owe theirs
  /// or are being run.
  [[nodiscard]] std::size_t stored_length(LayerIndex layer) const { return stored_[layer.index()]; }
  /// Everything that is owed, of all layers. What lies before a layer's stored_length() is paid.
  [[nodiscard]] std::span<const OwedState> owed() const { return owed_; }
  /// Makes room for a layer's positions up to `end`, in blocks of its own.
  void reserve(LayerIndex layer, std::size_t end);
  /// Counts the positions up to `end` as stored.
  void set_stored(LayerIndex layer, std::size_t end) { stored_[layer.index()] = end; }
  /// Stores a head's rotated key and its value, [head_dim] each, of one position. Different heads
  /// and positions may be stored from different threads.
  void store(const Kernels& kernels, LayerIndex layer, std::size_t position, std::size_t kv_head,
             const float* key, const float* value);
  /// The layer's blocks, as the attention kernels read them. Valid until the next reserve.
  [[nodiscard]] std::span<const std::byte* const> blocks(LayerIndex layer) const;
  /// Adds positions to the sequence, whichever layers they ran, and forgets states that nothing is
  /// owed of any more.
  void advance(std::size_t count);
  /// Takes back what was noted since the last advance().
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
  // For each layer, of the positions from 0: how many ran it, have keys and values stored, and have
  // them stored or owed.
  std::vector<std::size_t> run_, stored_, valid_;
  std::vector<Layer> layers_;
  std::vector<OwedState> owed_;
};

}  // namespace fathom
