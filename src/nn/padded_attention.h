#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace fathom {

/// The rows of one sequence that take part in a call of attention: `count` of them, at positions
/// first, first + 1, ... Their keys and values are rows of a table of keys: those of the positions
/// before `first` from `prompt` on, their own from `own` on.
struct SequenceRows {
  std::int64_t count = 0;
  std::int64_t first = 0;
  std::int64_t prompt = 0;
  std::int64_t own = 0;
};

/// How the rows of sequences of any lengths become one call of attention: each sequence is padded
/// to the longest by repeating its last row and its last key, and a mask hides the repeated keys.
/// A GPU takes less time for that than for a call a sequence; a CPU does not.
class PaddedAttention {
 public:
  /// `sequences` have at least one row each; those rows lie side by side in this order.
  PaddedAttention(std::span<const SequenceRows> sequences, at::Device device);

  /// From rows [rows][...] to [sequences][most rows][...].
  [[nodiscard]] at::Tensor pad_rows(const at::Tensor& rows) const;
  /// From the table of keys, or of values, [any][...] to [sequences][most keys][...].
  [[nodiscard]] at::Tensor pad_keys(const at::Tensor& table) const;
  /// Back from [sequences * most rows][...] to [rows][...].
  [[nodiscard]] at::Tensor unpad(const at::Tensor& padded) const;
  /// Which keys rows see, those of the last `window` positions where there is a window:
  /// [sequences][1][most rows][most keys], true or false.
  [[nodiscard]] at::Tensor visible(std::optional<std::int64_t> window) const;

 private:
  std::int64_t sequences_, most_rows_ = 0, most_keys_ = 0;
  at::Tensor rows_, keys_;    // what is gathered: [sequences * most]
  at::Tensor unpadded_;       // [rows]
  at::Tensor row_positions_;  // [sequences][1][most rows][1]
  at::Tensor key_positions_;  // [sequences][1][1][most keys]
  at::Tensor causal_;         // what rows see where there is no window, for all layers
};

}  // namespace fathom
