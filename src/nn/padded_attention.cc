#include "nn/padded_attention.h"

#include <ATen/TensorOperators.h>
#include <algorithm>
#include <stdexcept>

#include "nn/index_tensor.h"

namespace fathom {

PaddedAttention::PaddedAttention(std::span<const SequenceRows> sequences, at::Device device)
    : sequences_(static_cast<std::int64_t>(sequences.size())) {
  for (const SequenceRows& each : sequences) {
    if (each.count < 1) throw std::logic_error("a sequence without rows cannot be padded");
    most_rows_ = std::max(most_rows_, each.count);
    most_keys_ = std::max(most_keys_, each.first + each.count);
  }
  std::vector<std::int64_t> rows, keys, unpadded, row_positions, key_positions, keys_exist;
  std::int64_t begin = 0;
  for (std::int64_t s = 0; s < sequences_; ++s) {
    const SequenceRows& each = sequences[static_cast<std::size_t>(s)];
    for (std::int64_t i = 0; i < most_rows_; ++i) {
      const std::int64_t row = std::min(i, each.count - 1);
      rows.push_back(begin + row);
      row_positions.push_back(each.first + row);
      if (i < each.count) unpadded.push_back(s * most_rows_ + i);
    }
    for (std::int64_t i = 0; i < most_keys_; ++i) {
      const std::int64_t position = std::min(i, each.first + each.count - 1);
      keys.push_back(position < each.first ? each.prompt + position
                                           : each.own + position - each.first);
      key_positions.push_back(position);
      keys_exist.push_back(i == position ? 1 : 0);
    }
    begin += each.count;
  }
  rows_ = index_tensor(rows, device);
  keys_ = index_tensor(keys, device);
  unpadded_ = index_tensor(unpadded, device);
  row_positions_ = index_tensor(row_positions, device).view({sequences_, 1, most_rows_, 1});
  key_positions_ = index_tensor(key_positions, device).view({sequences_, 1, 1, most_keys_});
  const at::Tensor exist = index_tensor(keys_exist, device).view({sequences_, 1, 1, most_keys_});
  causal_ = key_positions_.le(row_positions_).logical_and(exist);
}

at::Tensor PaddedAttention::pad_rows(const at::Tensor& rows) const {
  return rows.index_select(0, rows_).unflatten(0, {sequences_, most_rows_});
}

at::Tensor PaddedAttention::pad_keys(const at::Tensor& table) const {
  return table.index_select(0, keys_).unflatten(0, {sequences_, most_keys_});
}

at::Tensor PaddedAttention::unpad(const at::Tensor& padded) const {
  return padded.index_select(0, unpadded_);
}

at::Tensor PaddedAttention::visible(std::optional<std::int64_t> window) const {
  return window ? causal_.logical_and(key_positions_.gt(row_positions_ - *window)) : causal_;
}

}  // namespace fathom
