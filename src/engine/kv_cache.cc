#include "engine/kv_cache.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace fathom {
namespace {

constexpr std::size_t block_size = cache_block_positions;

std::size_t blocks_for(std::size_t positions) { return (positions + block_size - 1) / block_size; }

// Numbers as a cache of their kind stores them.
void convert(const Kernels& kernels, const float* from, std::size_t n, std::uint16_t* to) {
  kernels.to_half(from, n, to);
}
void convert(const Kernels& /*kernels*/, const float* from, std::size_t n, float* to) {
  std::copy_n(from, n, to);
}

// One head's key and value to their place, `lane`, in a block.
template <class Element>
void store_head(const Kernels& kernels, const CacheLayout& layout, const float* key,
                const float* value, std::size_t lane, std::byte* head_keys,
                std::byte* head_values) {
  std::array<Element, 64> converted;
  auto* const k = reinterpret_cast<Element*>(head_keys) + lane;
  for (std::size_t d = 0; d < layout.head_dim; d += converted.size()) {
    const std::size_t count = std::min(converted.size(), layout.head_dim - d);
    convert(kernels, key + d, count, converted.data());
    for (std::size_t i = 0; i < count; ++i) k[(d + i) * block_size] = converted[i];
  }
  convert(kernels, value, layout.head_dim,
          reinterpret_cast<Element*>(head_values) + lane * layout.value_stride);
}

}  // namespace

CacheLayout::CacheLayout(const ModelConfig& config, CacheElement stored)
    : layers(config.layers),
      width(config.width),
      kv_heads(config.kv_heads),
      head_dim(config.head_dim),
      value_stride((config.head_dim + 15) / 16 * 16),
      element(stored) {}

std::size_t CacheLayout::key_offset(std::size_t kv_head) const {
  return kv_head * head_key_bytes(element, head_dim);
}

std::size_t CacheLayout::value_offset(std::size_t kv_head) const {
  return key_offset(kv_heads) + kv_head * head_value_bytes(element, value_stride);
}

std::size_t CacheLayout::block_bytes() const { return value_offset(kv_heads); }

BlockKvCache::BlockKvCache(const CacheLayout& layout, std::shared_ptr<CachePool> pool,
                           std::size_t capacity)
    : layout_(layout),
      pool_(std::move(pool)),
      capacity_(capacity),
      run_(layout.layers, 0),
      stored_(layout.layers, 0),
      valid_(layout.layers, 0),
      layers_(layout.layers) {}

std::size_t BlockKvCache::full_depth_length() const {
  return *std::min_element(run_.begin(), run_.end());
}

std::unique_ptr<KvCache> BlockKvCache::fork() const {
  auto copy = std::make_unique<BlockKvCache>(layout_, pool_, capacity_);
  copy->length_ = length_;
  copy->run_ = run_;
  copy->stored_ = stored_;
  copy->valid_ = valid_;
  copy->layers_ = layers_;
  copy->owed_ = owed_;
  return copy;
}

void BlockKvCache::truncate(std::size_t length) {
  if (length > length_) throw std::logic_error("a cache cannot be truncated to more than it holds");
  length_ = length;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    run_[l] = std::min(run_[l], length);
    stored_[l] = std::min(stored_[l], length);
    valid_[l] = std::min(valid_[l], length);
    const std::size_t keep = blocks_for(stored_[l]);
    layers_[l].blocks.resize(std::min(layers_[l].blocks.size(), keep));
    layers_[l].pointers.resize(layers_[l].blocks.size());
  }
  std::erase_if(owed_, [&](const OwedState& owed) { return owed.position >= length; });
}

std::size_t BlockKvCache::bytes() const {
  std::size_t blocks = 0;
  for (const Layer& layer : layers_) blocks += layer.blocks.size();
  return blocks * layout_.block_bytes() + owed_.size() * layout_.width * sizeof(float);
}

void BlockKvCache::note_run(LayerIndex layer) {
  std::size_t& run = run_[layer.index()];
  std::size_t& valid = valid_[layer.index()];
  if (run == valid) ++run;
  ++valid;
}

void BlockKvCache::note_owed(LayerIndex layer, std::span<const float> state) {
  const std::size_t position = valid_[layer.index()]++;
  // The state is the one that the layer before was skipped with, if it was.
  const auto before = std::find_if(owed_.rbegin(), owed_.rend(), [&](const OwedState& owed) {
    return owed.position == position && owed.end == layer;
  });
  const LayerIndex end{layer.value + 1};
  if (before != owed_.rend()) {
    before->end = end;
    return;
  }
  auto values = std::make_shared_for_overwrite<float[]>(state.size());
  std::copy(state.begin(), state.end(), values.get());
  owed_.push_back({position, layer, end, std::move(values)});
}

void BlockKvCache::advance(std::size_t count) {
  length_ += count;
  std::erase_if(owed_, [&](const OwedState& owed) {
    return std::all_of(stored_.begin() + owed.first.value, stored_.begin() + owed.end.value,
                       [&](std::size_t stored) { return stored > owed.position; });
  });
}

void BlockKvCache::reserve(LayerIndex layer, std::size_t end) {
  Layer& target = layers_[layer.index()];
  const std::size_t begin = stored_[layer.index()];
  const std::size_t needed = blocks_for(end);
  // The block that the next position falls into may be shared with a fork.
  for (std::size_t b = begin / block_size; b < needed; ++b) {
    if (b < target.blocks.size() && target.blocks[b].use_count() == 1) continue;
    // The kernels read whole blocks: positions not written yet must hold numbers, and the padding
    // of values zeros.
    std::shared_ptr<std::byte> block = pool_->allocate();
    if (b < target.blocks.size()) {
      std::memcpy(block.get(), target.blocks[b].get(), layout_.block_bytes());
      target.blocks[b] = std::move(block);
    } else {
      target.blocks.push_back(std::move(block));
      target.pointers.push_back(nullptr);
    }
    target.pointers[b] = target.blocks[b].get();
  }
}

void BlockKvCache::store(const Kernels& kernels, LayerIndex layer, std::size_t position,
                         std::size_t kv_head, const float* key, const float* value) {
  std::byte* const block = layers_[layer.index()].blocks[position / block_size].get();
  const std::size_t lane = position % block_size;
  std::byte* const keys = block + layout_.key_offset(kv_head);
  std::byte* const values = block + layout_.value_offset(kv_head);
  switch (layout_.element) {
    case CacheElement::float32:
      return store_head<float>(kernels, layout_, key, value, lane, keys, values);
    case CacheElement::half:
      return store_head<std::uint16_t>(kernels, layout_, key, value, lane, keys, values);
    case CacheElement::fixed16:
      kernels.store_fixed16(key, value, layout_.head_dim, layout_.value_stride, lane, keys, values);
  }
}

std::span<const std::byte* const> BlockKvCache::blocks(LayerIndex layer) const {
  return layers_[layer.index()].pointers;
}

}  // namespace fathom
