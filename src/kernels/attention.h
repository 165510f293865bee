// What attention kernels take, and how the keys and values that they read lie in memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fathom {

/// Positions in a block of the KV cache.
inline constexpr std::size_t cache_block_positions = 64;

/// What a KV cache stores a number as.
enum class CacheElement : std::uint8_t {
  float32,
  half,
  /// A 16-bit integer, with a scale for each position's key and value of a head.
  fixed16,
};
inline constexpr std::size_t cache_element_count = 3;

[[gnu::always_inline]] constexpr std::size_t element_bytes(CacheElement element) {
  return element == CacheElement::float32 ? 4 : 2;
}

/// Attention goes through a sequence in parts of so many positions, counted from position 0, and
/// adds up the parts in order. So different threads may take different parts of one row's.
inline constexpr std::size_t attention_part_positions = 256;
inline constexpr std::size_t attention_part_blocks =
    attention_part_positions / cache_block_positions;

// always_inline: a copy compiled for a large instruction set must not be linked into other code.

/// Numbers of fixed16 are integers of at most this magnitude times their scale, and lie as two
/// planes of bytes, which dot products of bytes read. Of a key k, biased: 256 * (high - 128) + low,
/// both unsigned. Of a value: 256 * high + low, both signed.
inline constexpr float fixed16_steps = 32639.0F;

/// Of fixed16, head_dim / 4 groups of a key's dimensions lie apart. There may be more room than
/// dimensions, so that the groups come in equal tiles of at most 16.
[[gnu::always_inline]] constexpr std::size_t fixed16_key_tiles(std::size_t head_dim) {
  return (head_dim + 63) / 64;
}
[[gnu::always_inline]] constexpr std::size_t fixed16_key_groups(std::size_t head_dim) {
  const std::size_t tiles = fixed16_key_tiles(head_dim);
  return ((head_dim + 3) / 4 + tiles - 1) / tiles * tiles;
}
[[gnu::always_inline]] constexpr std::size_t fixed16_key_plane_bytes(std::size_t head_dim) {
  return fixed16_key_groups(head_dim) * 4 * cache_block_positions;
}
[[gnu::always_inline]] constexpr std::size_t fixed16_value_plane_bytes(std::size_t value_stride) {
  return value_stride * cache_block_positions;
}

/// Bytes of one head's keys in a block. float32 and half: [head_dim][64]. fixed16: the planes
/// [groups][64][4] of the high and of the low bytes, then the scales [64] in float32.
[[gnu::always_inline]] constexpr std::size_t head_key_bytes(CacheElement element,
                                                            std::size_t head_dim) {
  if (element == CacheElement::fixed16) {
    return 2 * fixed16_key_plane_bytes(head_dim) + cache_block_positions * sizeof(float);
  }
  return head_dim * cache_block_positions * element_bytes(element);
}
/// Bytes of one head's values in a block. float32 and half: [64][value_stride]. fixed16: the planes
/// [64 / 4][value_stride][4] of the high and of the low bytes, then the scales [64] in float32.
[[gnu::always_inline]] constexpr std::size_t head_value_bytes(CacheElement element,
                                                              std::size_t value_stride) {
  if (element == CacheElement::fixed16) {
    return 2 * fixed16_value_plane_bytes(value_stride) + cache_block_positions * sizeof(float);
  }
  return value_stride * cache_block_positions * element_bytes(element);
}

/// What attention has made of some parts: the values' sums weighted by 2^(score - largest), each
/// score in powers of two; then the largest score and the sum of the weights. Nothing yet: zeros,
/// with minus infinity as the largest.
[[gnu::always_inline]] constexpr std::size_t attention_state_floats(std::size_t value_stride) {
  return value_stride + 16;
}
/// In a state, after the sums.
inline constexpr std::size_t attention_largest = 0;
inline constexpr std::size_t attention_total = 1;

/// One query of attention: a query head of one row.
struct AttentionQuery {
  const float* values = nullptr;  ///< [head_dim], rotated
  std::size_t first = 0;          ///< the first position that the row sees
  std::size_t end = 0;            ///< behind the last, greater than `first`
  float* state = nullptr;         ///< is written; aligned to 64 bytes
};

/// Attention of queries of one sequence that share a key/value head, to some parts of it.
struct AttentionCall {
  const AttentionQuery* queries = nullptr;
  std::size_t count = 0;  ///< 1 to attention_queries
  std::size_t first_part = 0;
  std::size_t end_part = 0;
  std::size_t head_dim = 0;
  std::size_t value_stride = 0;  ///< head_dim rounded up to 16
  /// One pointer a block of 64 positions, aligned to 64 bytes. In it, at these offsets, lie the
  /// head's keys and values.
  const std::byte* const* blocks = nullptr;
  std::size_t key_offset = 0;
  std::size_t value_offset = 0;
  float scale = 1;           ///< applied to the products of query and key
  float* scratch = nullptr;  ///< attention_scratch_floats(...), aligned to 64 bytes
};
/// The most queries of one call. More together read keys and values less often.
inline constexpr std::size_t attention_queries = 48;

/// The most that the kernels of any instruction set need: those of fixed16 the queries in two
/// planes of bytes, with what belongs to them, and for sixteen of them scores, weights and sums;
/// the others twelve queries, their sums and a block's weights.
[[gnu::always_inline]] constexpr std::size_t attention_scratch_floats(std::size_t head_dim,
                                                                      std::size_t value_stride) {
  constexpr std::size_t at_a_time = 16;
  const std::size_t query_bytes = (4 * fixed16_key_groups(head_dim) + 15) / 16 * 16;
  const std::size_t fixed16 = attention_queries * (2 * query_bytes / sizeof(float) + 3) +
                              at_a_time * (attention_part_positions + value_stride +
                                           2 * attention_part_positions / sizeof(float));
  const std::size_t floats = 12 * (2 * value_stride + cache_block_positions);
  return fixed16 > floats ? fixed16 : floats;
}

}  // namespace fathom
