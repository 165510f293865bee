#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <memory>
#include <vector>

#include "model/language_model.h"

namespace fathom {

/// What the keys and values of a position are.
struct TorchCacheShape {
  std::size_t layers = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  at::TensorOptions options;  ///< type and device
};

/// nn/'s cache: for each layer that a token has run, keys and values of all positions in one
/// tensor, which doubles when it is full. Forks share it until one side writes, which then copies.
class TorchKvCache final : public KvCache {
 public:
  TorchKvCache(const TorchCacheShape& shape, std::size_t capacity);

  [[nodiscard]] std::size_t length() const override { return length_; }
  [[nodiscard]] std::size_t capacity() const override { return capacity_; }
  [[nodiscard]] std::size_t valid_length(LayerIndex layer) const override {
    return layers_[layer.index()].valid;
  }
  [[nodiscard]] std::size_t full_depth_length() const override;
  [[nodiscard]] std::unique_ptr<KvCache> fork() const override;
  void truncate(std::size_t length) override;
  [[nodiscard]] std::size_t bytes() const override;

  /// Appends keys and values [rows][kv_heads][head_dim] to a layer's valid positions.
  void append(LayerIndex layer, const at::Tensor& keys, const at::Tensor& values);
  /// The layer's valid positions: [1][kv_heads][positions][head_dim].
  [[nodiscard]] at::Tensor keys(LayerIndex layer) const;
  [[nodiscard]] at::Tensor values(LayerIndex layer) const;
  /// Adds positions to the sequence, whichever layers they ran.
  void advance(std::size_t count) { length_ += count; }
  /// Takes back what append() did since the last advance().
  void roll_back() { truncate(length_); }

 private:
  // [2][1][kv_heads][room][head_dim]: keys, then values.
  struct Layer {
    std::shared_ptr<at::Tensor> tensor;
    std::size_t valid = 0;
  };
  void make_room(Layer& layer, std::size_t positions) const;

  TorchCacheShape shape_;
  std::size_t capacity_;
  std::size_t length_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace fathom
