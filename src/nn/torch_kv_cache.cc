#include "nn/torch_kv_cache.h"

#include <ATen/ops/empty.h>
#include <algorithm>
#include <stdexcept>

namespace fathom {
namespace {

constexpr std::size_t least_room = 64;

std::int64_t integer(std::size_t n) { return static_cast<std::int64_t>(n); }

}  // namespace

TorchKvCache::TorchKvCache(const TorchCacheShape& shape, std::size_t capacity)
    : shape_(shape), capacity_(capacity), layers_(shape.layers) {}

std::size_t TorchKvCache::full_depth_length() const {
  std::size_t least = length_;
  for (const Layer& layer : layers_) least = std::min(least, layer.valid);
  return least;
}

std::unique_ptr<KvCache> TorchKvCache::fork() const {
  auto copy = std::make_unique<TorchKvCache>(shape_, capacity_);
  copy->length_ = length_;
  copy->layers_ = layers_;
  return copy;
}

void TorchKvCache::truncate(std::size_t length) {
  if (length > length_) throw std::logic_error("a cache cannot be truncated to more than it holds");
  length_ = length;
  for (Layer& layer : layers_) {
    layer.valid = std::min(layer.valid, length);
    if (layer.valid == 0) layer.tensor.reset();
  }
}

std::size_t TorchKvCache::bytes() const {
  std::size_t total = 0;
  for (const Layer& layer : layers_) {
    if (layer.tensor) total += layer.tensor->nbytes();
  }
  return total;
}

void TorchKvCache::make_room(Layer& layer, std::size_t positions) const {
  const std::size_t room =
      layer.tensor ? static_cast<std::size_t>(layer.tensor->size(3)) : std::size_t{0};
  if (positions <= room && layer.tensor.use_count() == 1) return;
  const std::size_t larger =
      std::min(capacity_, std::max({least_room, positions, positions > room ? 2 * room : room}));
  at::Tensor tensor = at::empty(
      {2, 1, integer(shape_.kv_heads), integer(larger), integer(shape_.head_dim)}, shape_.options);
  if (layer.valid > 0) {
    tensor.narrow(3, 0, integer(layer.valid))
        .copy_(layer.tensor->narrow(3, 0, integer(layer.valid)));
  }
  layer.tensor = std::make_shared<at::Tensor>(std::move(tensor));
}

void TorchKvCache::append(LayerIndex layer, const at::Tensor& keys, const at::Tensor& values) {
  Layer& target = layers_[layer.index()];
  const auto rows = static_cast<std::size_t>(keys.size(0));
  make_room(target, target.valid + rows);
  const at::Tensor places = target.tensor->narrow(3, integer(target.valid), integer(rows));
  places[0][0].copy_(keys.transpose(0, 1));
  places[1][0].copy_(values.transpose(0, 1));
  target.valid += rows;
}

at::Tensor TorchKvCache::keys(LayerIndex layer) const {
  const Layer& from = layers_[layer.index()];
  return (*from.tensor)[0].narrow(2, 0, integer(from.valid));
}

at::Tensor TorchKvCache::values(LayerIndex layer) const {
  const Layer& from = layers_[layer.index()];
  return (*from.tensor)[1].narrow(2, 0, integer(from.valid));
}

}  // namespace fathom
