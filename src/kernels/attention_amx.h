// The integer sums of attention_fixed16.h in the tiles of AMX-INT8. Included by kernels_amx.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "kernels/amx.h"
#include "kernels/attention_fixed16.h"

namespace fathom {
namespace {

struct FixedTiles {
  // Fewer queries than this are faster in vectors.
  static constexpr std::size_t fewest_queries = 5;
  static constexpr std::size_t full_groups = 16;  // of four bytes in a row of a tile

  // Tiles of a side of a product, high and low bytes, and two pairs of sums.
  static constexpr int left_high = 0;
  static constexpr int left_low = 1;
  static constexpr int right_high = 2;
  static constexpr int right_low = 3;

  static void shape(std::size_t groups) {
    TileShapes shapes;
    for (const int tile : {left_high, left_low}) shapes.set(tile, tile_rows, 4 * groups);
    for (const int tile : {right_high, right_low}) shapes.set(tile, groups, 64);
    for (const int tile : {4, 5, 6, 7}) shapes.set(tile, tile_rows, 64);
    configure(shapes);
  }
  static void begin() { shape(full_groups); }
  static void end() { release_tiles(); }

  using Sums = std::int32_t[tile_rows][16];

  // The scores of 16 positions, into tiles `high` and `mid`. The queries' tiles are loaded already
  // if there is one of each only.
  template <int high, int mid>
  static void score_tiles(const FixedPart& part, const FixedQueries& queries, const Sums (&bias)[2],
                          const std::byte* keys, std::size_t groups) {
    load_tile<high>(bias[0], 64);
    load_tile<mid>(bias[1], 64);
    for (std::size_t g = 0; g < part.key_groups; g += groups) {
      if (part.key_groups > groups) {
        load_tile<left_high>(queries.high + 4 * g, queries.row_bytes);
        load_tile<left_low>(queries.low + 4 * g, queries.row_bytes);
      }
      load_tile<right_high>(keys + g * 256, 256);
      load_tile<right_low>(keys + part.key_plane + g * 256, 256);
      add_product_su<high, left_high, right_high>();
      add_product_su<mid, left_low, right_high>();
      add_product_su<mid, left_high, right_low>();
    }
  }

  // The scores of sixteen positions to where they belong.
  static void store_scores(const Sums& high, const Sums& mid, const float* key_scales,
                           const FixedQueries& queries, float* scores) {
    const __m512 key_scale = _mm512_loadu_ps(key_scales);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < tile_rows; ++r) {
      const __m512 score = score_of(_mm512_load_si512(high[r]), _mm512_load_si512(mid[r]),
                                    key_scale, queries.factors[r]);
      _mm512_store_ps(scores + r * attention_part_positions, score);
    }
  }

  static void all_scores(const FixedPart& part, const FixedQueries& queries, float* scores) {
    if (queries.count < fewest_queries) return FixedVectors::all_scores(part, queries, scores);
    const std::size_t tiles = (part.key_groups + full_groups - 1) / full_groups;
    const std::size_t groups = part.key_groups / tiles;
    if (groups != full_groups) shape(groups);
    alignas(64) Sums bias[2];
    for (std::size_t r = 0; r < tile_rows; ++r) {
      _mm512_store_si512(bias[0][r], _mm512_set1_epi32(queries.bias[r]));
      _mm512_store_si512(bias[1][r], _mm512_set1_epi32(queries.bias[queries_at_a_time + r]));
    }
    load_tile<left_high>(queries.high, queries.row_bytes);
    load_tile<left_low>(queries.low, queries.row_bytes);
    alignas(64) Sums high[2];
    alignas(64) Sums mid[2];
    for (std::size_t b = 0; b < part.blocks; ++b) {
      const float* const key_scales = scales_of(part.keys[b], part.key_plane);
      float* const out = scores + b * cache_block_positions;
      // Two at a time: while one pair's sums go through memory, the tiles are busy with the other.
      for (std::size_t p = 0; p < cache_block_positions; p += 32) {
        score_tiles<4, 5>(part, queries, bias, part.keys[b] + 4 * p, groups);
        score_tiles<6, 7>(part, queries, bias, part.keys[b] + 4 * (p + 16), groups);
        store_tile<4>(high[0], 64);
        store_tile<5>(mid[0], 64);
        store_tile<6>(high[1], 64);
        store_tile<7>(mid[1], 64);
        store_scores(high[0], mid[0], key_scales + p, queries, out + p);
        store_scores(high[1], mid[1], key_scales + p + 16, queries, out + p + 16);
      }
    }
  }

  // 16 dimensions of a block's values, into tiles `high` and `mid`.
  template <int high, int mid>
  static void value_tiles(const FixedPart& part, const std::byte* values) {
    load_tile<right_high>(values, 4 * part.value_stride);
    load_tile<right_low>(values + part.value_plane, 4 * part.value_stride);
    add_product_us<high, left_high, right_high>();
    add_product_us<mid, left_high, right_low>();
    add_product_us<mid, left_low, right_high>();
  }

  template <int high_tile, int mid_tile>
  static void store_values(const FixedWeights& weights, std::size_t value_stride, float* sums) {
    alignas(64) Sums high;
    alignas(64) Sums mid;
    store_tile<high_tile>(high, 64);
    store_tile<mid_tile>(mid, 64);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < tile_rows; ++r) {
      _mm512_store_ps(
          sums + r * value_stride,
          value_sum_of(_mm512_load_si512(high[r]), _mm512_load_si512(mid[r]), weights.factors[r]));
    }
  }

  static void all_values(const FixedPart& part, const FixedWeights& weights, std::size_t queries,
                         float* sums) {
    if (queries < fewest_queries) return FixedVectors::all_values(part, weights, queries, sums);
    if (part.key_groups % full_groups != 0) shape(full_groups);
    for (std::size_t d = 0; d < part.value_stride; d += 32) {
      const bool two = d + 32 <= part.value_stride;
      clear_tile<4>();
      clear_tile<5>();
      clear_tile<6>();
      clear_tile<7>();
      for (std::size_t b = 0; b < part.blocks; ++b) {
        const std::size_t at = b * cache_block_positions;
        load_tile<left_high>(weights.high + at, attention_part_positions);
        load_tile<left_low>(weights.low + at, attention_part_positions);
        value_tiles<4, 5>(part, part.values[b] + 4 * d);
        if (two) value_tiles<6, 7>(part, part.values[b] + 4 * (d + 16));
      }
      store_values<4, 5>(weights, part.value_stride, sums + d);
      if (two) store_values<6, 7>(weights, part.value_stride, sums + d + 16);
    }
  }
};

}  // namespace
}  // namespace fathom
