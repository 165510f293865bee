// Attention over keys and values of CacheElement::fixed16, for processors with AVX-512 VNNI.
// Included by kernels_<instruction set>.cc files that are compiled for it only, hence the internal
// linkage.
//
// Queries and weights are cut into two planes of bytes as keys and values are. All sums over
// dimensions and positions then are sums of integers, which are exact: in whatever order, in
// vectors or in tiles, they give the same. The products of two low bytes, about 2^-16 of the
// whole, are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/kernels_impl.h"

namespace fathom {
namespace {

// Queries whose scores and weights are in the scratch at a time.
inline constexpr std::size_t queries_at_a_time = 16;

// A part's blocks, as far as the queries see them, and what memory will be needed after them.
struct FixedPart {
  const std::byte* keys[attention_part_blocks];
  const std::byte* values[attention_part_blocks];
  std::size_t blocks;
  const std::byte* next_keys;
  const std::byte* next_values;
  std::size_t key_plane;    // bytes
  std::size_t value_plane;  // bytes
  std::size_t key_groups;
  std::size_t value_stride;
};

inline const float* scales_of(const std::byte* planes, std::size_t plane_bytes) {
  return reinterpret_cast<const float*>(planes + 2 * plane_bytes);
}

// Sixteen queries or fewer, 256 * high + low, both signed.
struct FixedQueries {
  std::int8_t* high;   // [16][row_bytes]
  std::int8_t* low;    // [16][row_bytes]
  float* factors;      // [16]: of the integer sums, to make scores of them
  std::int32_t* bias;  // [2][16]: -128 times the sums of the high and of the low bytes
  std::size_t row_bytes;
  std::size_t count;
};

// Weights of those, unsigned: 256 * high + low.
struct FixedWeights {
  std::uint8_t* high;                // [16][256]
  std::uint8_t* low;                 // [16][256]
  float factors[queries_at_a_time];  // of the integer sums, to make sums of values of them
  float largest[queries_at_a_time];
  float total[queries_at_a_time];
};

// 256 * high + mid: what the two sums of an integer product come to, but for a factor 256.
inline __m512 combined(__m512i high, __m512i mid) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(256.0F), _mm512_cvtepi32_ps(mid));
}
inline __m512 score_of(__m512i high, __m512i mid, __m512 key_scale, float query_factor) {
  const __m512 scaled = _mm512_mul_ps(combined(high, mid), key_scale);
  return _mm512_mul_ps(scaled, _mm512_set1_ps(query_factor));
}
inline __m512 value_sum_of(__m512i high, __m512i mid, float weight_factor) {
  return _mm512_mul_ps(combined(high, mid), _mm512_set1_ps(weight_factor));
}

// The integer sums in vectors, of Q queries from `first` on at a time.
struct FixedVectors {
  static void begin() {}
  static void end() {}

  // Asks for what the next block will need at this place.
  static void prefetch(const std::byte* next, std::size_t bytes) {
    for (std::size_t line = 0; line < bytes; line += 64) __builtin_prefetch(next + line);
  }

  static __m512i broadcast(const void* four_bytes) {
    std::int32_t four;
    __builtin_memcpy(&four, four_bytes, 4);
    return _mm512_set1_epi32(four);
  }

  template <int Q>
  static void scores(const FixedPart& part, const FixedQueries& queries, std::size_t first,
                     float* scores) {
    for (std::size_t b = 0; b < part.blocks; ++b) {
      const std::byte* const next = b + 1 < part.blocks ? part.keys[b + 1] : part.next_keys;
      const float* const key_scales = scales_of(part.keys[b], part.key_plane);
      __m512i high[Q][4];
      __m512i mid[Q][4];
#pragma GCC unroll 4
      for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t) {
          high[q][t] = _mm512_set1_epi32(queries.bias[first + q]);
          mid[q][t] = _mm512_set1_epi32(queries.bias[queries_at_a_time + first + q]);
        }
      }
      for (std::size_t g = 0; g < part.key_groups; ++g) {
        const std::byte* const key_high = part.keys[b] + g * 256;
        const std::byte* const key_low = key_high + part.key_plane;
        prefetch(next + g * 256, 256);
        prefetch(next + part.key_plane + g * 256, 256);
        __m512i query_high[Q];
        __m512i query_low[Q];
#pragma GCC unroll 4
        for (int q = 0; q < Q; ++q) {
          const std::size_t at = (first + q) * queries.row_bytes + 4 * g;
          query_high[q] = broadcast(queries.high + at);
          query_low[q] = broadcast(queries.low + at);
        }
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t) {
          const __m512i k = _mm512_loadu_si512(key_high + 64 * t);
          const __m512i l = _mm512_loadu_si512(key_low + 64 * t);
#pragma GCC unroll 4
          for (int q = 0; q < Q; ++q) {
            high[q][t] = _mm512_dpbusd_epi32(high[q][t], k, query_high[q]);
            mid[q][t] = _mm512_dpbusd_epi32(mid[q][t], k, query_low[q]);
            mid[q][t] = _mm512_dpbusd_epi32(mid[q][t], l, query_high[q]);
          }
        }
      }
#pragma GCC unroll 4
      for (int q = 0; q < Q; ++q) {
        float* const out =
            scores + (first + q) * attention_part_positions + b * cache_block_positions;
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t) {
          const __m512 key_scale = _mm512_loadu_ps(key_scales + 16 * t);
          _mm512_storeu_ps(out + 16 * t,
                           score_of(high[q][t], mid[q][t], key_scale, queries.factors[first + q]));
        }
      }
    }
  }

  // 16 * D dimensions of the sums from `dimension` on.
  template <int Q, int D>
  static void add_values(const FixedPart& part, const FixedWeights& weights, std::size_t first,
                         std::size_t dimension, float* sums) {
    __m512i high[Q][D];
    __m512i mid[Q][D];
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
      for (int d = 0; d < D; ++d) high[q][d] = mid[q][d] = _mm512_setzero_si512();
    }
    for (std::size_t b = 0; b < part.blocks; ++b) {
      const std::byte* const next = b + 1 < part.blocks ? part.values[b + 1] : part.next_values;
      for (std::size_t g = 0; g < cache_block_positions / 4; ++g) {
        const std::size_t at = (g * part.value_stride + dimension) * 4;
        const std::byte* const value_high = part.values[b] + at;
        const std::byte* const value_low = value_high + part.value_plane;
        prefetch(next + at, 64 * D);
        prefetch(next + part.value_plane + at, 64 * D);
        __m512i weight_high[Q];
        __m512i weight_low[Q];
#pragma GCC unroll 4
        for (int q = 0; q < Q; ++q) {
          const std::size_t weight =
              (first + q) * attention_part_positions + b * cache_block_positions + 4 * g;
          weight_high[q] = broadcast(weights.high + weight);
          weight_low[q] = broadcast(weights.low + weight);
        }
#pragma GCC unroll 4
        for (int d = 0; d < D; ++d) {
          const __m512i v = _mm512_loadu_si512(value_high + 64 * d);
          const __m512i l = _mm512_loadu_si512(value_low + 64 * d);
#pragma GCC unroll 4
          for (int q = 0; q < Q; ++q) {
            high[q][d] = _mm512_dpbusd_epi32(high[q][d], weight_high[q], v);
            mid[q][d] = _mm512_dpbusd_epi32(mid[q][d], weight_high[q], l);
            mid[q][d] = _mm512_dpbusd_epi32(mid[q][d], weight_low[q], v);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
      float* const out = sums + (first + q) * part.value_stride + dimension;
#pragma GCC unroll 4
      for (int d = 0; d < D; ++d) {
        _mm512_storeu_ps(out + 16 * d,
                         value_sum_of(high[q][d], mid[q][d], weights.factors[first + q]));
      }
    }
  }

  template <int Q>
  static void values(const FixedPart& part, const FixedWeights& weights, std::size_t first,
                     float* sums) {
    std::size_t d = 0;
    for (; d + 64 <= part.value_stride; d += 64) add_values<Q, 4>(part, weights, first, d, sums);
    for (; d < part.value_stride; d += 16) add_values<Q, 1>(part, weights, first, d, sums);
  }

  // Four go as two and two.
  static std::size_t next_count(std::size_t left) {
    return left == 4 || left == 2 ? 2 : left == 1 ? 1 : 3;
  }

  static void all_scores(const FixedPart& part, const FixedQueries& queries, float* scores_out) {
    for (std::size_t first = 0; first < queries.count;) {
      const std::size_t count = next_count(queries.count - first);
      if (count == 1) scores<1>(part, queries, first, scores_out);
      if (count == 2) scores<2>(part, queries, first, scores_out);
      if (count == 3) scores<3>(part, queries, first, scores_out);
      first += count;
    }
  }
  static void all_values(const FixedPart& part, const FixedWeights& weights, std::size_t queries,
                         float* sums) {
    for (std::size_t first = 0; first < queries;) {
      const std::size_t count = next_count(queries - first);
      if (count == 1) values<1>(part, weights, first, sums);
      if (count == 2) values<2>(part, weights, first, sums);
      if (count == 3) values<3>(part, weights, first, sums);
      first += count;
    }
  }
};

// Attention with integer sums by `Sums`, which has all_scores and all_values as FixedVectors has,
// and begin() and end() around all of them.
template <class Sums>
struct FixedAttention {
  using Base = KernelsFor<Avx512>;
  // Positions of a part, counted from its first.
  struct Seen {
    std::size_t begin;
    std::size_t end;
    [[nodiscard]] bool nothing() const { return begin >= end; }
    [[nodiscard]] bool all() const { return begin == 0 && end == attention_part_positions; }
    [[nodiscard]] __mmask16 lanes(std::size_t from) const {
      const __m512i index =
          _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(from)),
                           _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
      const __mmask16 from_begin =
          _mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(static_cast<int>(begin)));
      return _mm512_mask_cmplt_epi32_mask(from_begin, index,
                                          _mm512_set1_epi32(static_cast<int>(end)));
    }
  };

  static Seen seen_of(const AttentionQuery& query, std::size_t part) {
    const std::size_t part_begin = part * attention_part_positions;
    const auto within = [&](std::size_t position) {
      const std::size_t from_begin = position > part_begin ? position - part_begin : 0;
      return from_begin < attention_part_positions ? from_begin : attention_part_positions;
    };
    return {within(query.first), within(query.end)};
  }

  // How values [n] become integers: by what they are multiplied, and the scale that takes them
  // back, which is not a number if they are not finite.
  struct Steps {
    float inverse;
    float scale;
  };
  static Steps steps_of(const float* values, std::size_t n) {
    __m512 largest = _mm512_setzero_ps();
    __mmask16 strange = 0;
    for (std::size_t i = 0; i < n; i += 16) {
      const __m512 x = Avx512::load_part(values + i, n - i < 16 ? n - i : 16);
      // x - x is 0 for finite numbers only.
      strange |= _mm512_cmp_ps_mask(_mm512_sub_ps(x, x), _mm512_setzero_ps(), _CMP_NEQ_UQ);
      largest = _mm512_max_ps(largest, _mm512_abs_ps(x));
    }
    if (strange != 0) return {0, __builtin_nanf("")};
    const float most = _mm512_reduce_max_ps(largest);
    // The inverse of a tiny number would be infinite.
    if (most < 1e-30F) return {0, 0};
    return {fixed16_steps / most, most / fixed16_steps};
  }
  static __m512i to_steps(const float* values, std::size_t n, float inverse) {
    const __m512 x = Avx512::load_part(values, n < 16 ? n : 16);
    return _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));
  }
  // The low byte of 256 * high + low, both signed, in 32 bits.
  static __m512i signed_low(__m512i x) { return _mm512_srai_epi32(_mm512_slli_epi32(x, 24), 24); }
  static __m512i high_byte(__m512i x, __m512i low) {
    return _mm512_srai_epi32(_mm512_sub_epi32(x, low), 8);
  }

  static void store(const float* key, const float* value, std::size_t head_dim,
                    std::size_t value_stride, std::size_t lane, std::byte* head_keys,
                    std::byte* head_values) {
    const std::size_t key_plane = fixed16_key_plane_bytes(head_dim);
    const std::size_t value_plane = fixed16_value_plane_bytes(value_stride);
    const Steps key_steps = steps_of(key, head_dim);
    const Steps value_steps = steps_of(value, head_dim);
    // What is not finite in a value must show too: through the score.
    const float key_scale = key_steps.scale + 0 * value_steps.scale;
    __builtin_memcpy(head_keys + 2 * key_plane + lane * sizeof(float), &key_scale, sizeof(float));
    __builtin_memcpy(head_values + 2 * value_plane + lane * sizeof(float), &value_steps.scale,
                     sizeof(float));
    for (std::size_t d = 0; d < head_dim; d += 16) {
      const __m512i k = to_steps(key + d, head_dim - d, key_steps.inverse);
      alignas(16) std::uint8_t low[16];
      alignas(16) std::uint8_t high[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(low), _mm512_cvtepi32_epi8(k));
      const __m512i biased = _mm512_add_epi32(_mm512_srai_epi32(k, 8), _mm512_set1_epi32(128));
      _mm_store_si128(reinterpret_cast<__m128i*>(high), _mm512_cvtepi32_epi8(biased));
      for (std::size_t i = 0; i < 16 && d + i < head_dim; i += 4) {
        std::byte* const at = head_keys + ((d + i) / 4 * cache_block_positions + lane) * 4;
        __builtin_memcpy(at, high + i, 4);
        __builtin_memcpy(at + key_plane, low + i, 4);
      }
      const __m512i v = to_steps(value + d, head_dim - d, value_steps.inverse);
      const __m512i v_low = signed_low(v);
      _mm_store_si128(reinterpret_cast<__m128i*>(low), _mm512_cvtepi32_epi8(v_low));
      _mm_store_si128(reinterpret_cast<__m128i*>(high), _mm512_cvtepi32_epi8(high_byte(v, v_low)));
      // Bytes one by one: other threads write the positions beside this one.
      std::byte* const at = head_values + (lane / 4 * value_stride + d) * 4 + lane % 4;
      for (std::size_t i = 0; i < 16; ++i) {
        at[4 * i] = static_cast<std::byte>(high[i]);
        at[value_plane + 4 * i] = static_cast<std::byte>(low[i]);
      }
    }
  }

  // Query `values` as the i-th of `queries`.
  static void cut_query(const float* values, std::size_t head_dim, float scale, std::size_t i,
                        const FixedQueries& queries) {
    const Steps steps = steps_of(values, head_dim);
    // 256 is what combined() leaves to do.
    queries.factors[i] = 256.0F * scale * steps.scale;
    __m512i high_sum = _mm512_setzero_si512();
    __m512i low_sum = _mm512_setzero_si512();
    std::int8_t* const high = queries.high + i * queries.row_bytes;
    std::int8_t* const low = queries.low + i * queries.row_bytes;
    for (std::size_t d = 0; d < queries.row_bytes; d += 16) {
      const std::size_t left = d < head_dim ? head_dim - d : 0;
      const __m512i x = to_steps(values + d, left, steps.inverse);
      const __m512i x_low = signed_low(x);
      const __m512i x_high = high_byte(x, x_low);
      high_sum = _mm512_add_epi32(high_sum, x_high);
      low_sum = _mm512_add_epi32(low_sum, x_low);
      const __mmask16 room = first_lanes(queries.row_bytes - d < 16 ? queries.row_bytes - d : 16);
      _mm512_mask_cvtepi32_storeu_epi8(high + d, room, x_high);
      _mm512_mask_cvtepi32_storeu_epi8(low + d, room, x_low);
    }
    queries.bias[i] = -128 * _mm512_reduce_add_epi32(high_sum);
    queries.bias[queries_at_a_time + i] = -128 * _mm512_reduce_add_epi32(low_sum);
  }

  // 2^x for x <= 0, to about 3 parts in 10^6: the weights have 16 bits.
  static __m512 power_of_two(__m512 x) {
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(9.582842879e-3F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.590642797e-2F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402409887e-1F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931241929e-1F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    return _mm512_scalef_ps(p, n);
  }

  // The largest of the values' scales that a query sees. It does not depend on what lies beside
  // these: that may be written already, or not yet.
  static float largest_scale(const FixedPart& part, Seen seen) {
    __m512 largest = _mm512_setzero_ps();
    for (std::size_t from = 0; from < part.blocks * cache_block_positions; from += 16) {
      const float* const scales =
          scales_of(part.values[from / cache_block_positions], part.value_plane);
      largest = _mm512_mask_max_ps(largest, seen.lanes(from), largest,
                                   _mm512_loadu_ps(scales + from % cache_block_positions));
    }
    return _mm512_reduce_max_ps(largest);
  }

  // Scores [256] become the i-th query's weights, times the values' scales.
  template <bool sees_all>
  static void make_weights(const FixedPart& part, Seen seen, float value_scale, const float* scores,
                           std::size_t i, FixedWeights& weights) {
    // Far below every score, and 2^that is 0.
    const __m512 unseen = _mm512_set1_ps(-1e30F);
    const std::size_t positions = part.blocks * cache_block_positions;
    const auto load = [&](std::size_t from) {
      const __m512 x = _mm512_load_ps(scores + from);
      if constexpr (sees_all) return x;
      return _mm512_mask_mov_ps(unseen, seen.lanes(from), x);
    };
    __m512 largest = unseen;
    for (std::size_t from = 0; from < positions; from += 16) {
      largest = _mm512_max_ps(largest, load(from));
    }
    const float most = _mm512_reduce_max_ps(largest);
    const __m512 subtract = _mm512_set1_ps(most);
    // The largest weight times the largest scale takes all 16 bits.
    const __m512 steps = _mm512_set1_ps(value_scale > 0 ? 65535.0F / value_scale : 0.0F);
    __m512 total = _mm512_setzero_ps();
    const __m512i transpose =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i low_bytes = _mm512_set1_epi16(255);
    for (std::size_t b = 0; b < part.blocks; ++b) {
      const float* const value_scales = scales_of(part.values[b], part.value_plane);
      __m512i u[4];
#pragma GCC unroll 4
      for (std::size_t k = 0; k < 4; ++k) {
        const std::size_t from = b * cache_block_positions + 16 * k;
        const __m512 w = power_of_two(_mm512_sub_ps(load(from), subtract));
        total = _mm512_add_ps(total, w);
        const __m512 scaled = _mm512_mul_ps(w, _mm512_loadu_ps(value_scales + 16 * k));
        const __m512 in_steps = _mm512_mul_ps(scaled, steps);
        if constexpr (sees_all) {
          u[k] = _mm512_cvtps_epi32(in_steps);
        } else {
          u[k] = _mm512_maskz_cvtps_epi32(seen.lanes(from), in_steps);
        }
      }
      const __m512i first = _mm512_packus_epi32(u[0], u[1]);
      const __m512i second = _mm512_packus_epi32(u[2], u[3]);
      const __m512i high =
          _mm512_packus_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(second, 8));
      const __m512i low = _mm512_packus_epi16(_mm512_and_si512(first, low_bytes),
                                              _mm512_and_si512(second, low_bytes));
      const std::size_t at = i * attention_part_positions + b * cache_block_positions;
      _mm512_store_si512(weights.high + at, _mm512_permutexvar_epi32(transpose, high));
      _mm512_store_si512(weights.low + at, _mm512_permutexvar_epi32(transpose, low));
    }
    weights.largest[i] = most;
    weights.total[i] = _mm512_reduce_add_ps(total);
    weights.factors[i] = value_scale * (256.0F / 65535.0F);
  }

  static void make_no_weights(const FixedPart& part, std::size_t i, FixedWeights& weights) {
    for (std::size_t b = 0; b < part.blocks; ++b) {
      const std::size_t at = i * attention_part_positions + b * cache_block_positions;
      _mm512_store_si512(weights.high + at, _mm512_setzero_si512());
      _mm512_store_si512(weights.low + at, _mm512_setzero_si512());
    }
    weights.total[i] = 0;
    weights.factors[i] = 0;
  }

  static FixedPart part_of(const AttentionCall& call, std::size_t part, std::size_t end) {
    FixedPart result;
    result.key_plane = fixed16_key_plane_bytes(call.head_dim);
    result.value_plane = fixed16_value_plane_bytes(call.value_stride);
    result.key_groups = fixed16_key_groups(call.head_dim);
    result.value_stride = call.value_stride;
    const std::size_t first = part * attention_part_blocks;
    const std::size_t all = (end + cache_block_positions - 1) / cache_block_positions;
    result.blocks = all - first < attention_part_blocks ? all - first : attention_part_blocks;
    for (std::size_t b = 0; b < result.blocks; ++b) {
      result.keys[b] = call.blocks[first + b] + call.key_offset;
      result.values[b] = call.blocks[first + b] + call.value_offset;
    }
    const std::size_t next = first + result.blocks < all ? first + result.blocks : first;
    result.next_keys = call.blocks[next] + call.key_offset;
    result.next_values = call.blocks[next] + call.value_offset;
    return result;
  }

  static void attend(const AttentionCall& call) {
    const std::size_t row_bytes = 4 * fixed16_key_groups(call.head_dim);
    const std::size_t padded_row = (row_bytes + 15) / 16 * 16;
    constexpr std::size_t groups = attention_queries / queries_at_a_time;
    float* scratch = call.scratch;
    const auto take = [&](std::size_t floats) {
      float* const taken = scratch;
      scratch += floats;
      return taken;
    };
    float* const scores = take(queries_at_a_time * attention_part_positions);
    FixedWeights weights;
    weights.high =
        reinterpret_cast<std::uint8_t*>(take(queries_at_a_time * attention_part_positions / 4));
    weights.low =
        reinterpret_cast<std::uint8_t*>(take(queries_at_a_time * attention_part_positions / 4));
    float* const sums = take(queries_at_a_time * call.value_stride);
    FixedQueries queries[groups];
    std::size_t used = 0;
    std::size_t first = call.queries[0].first;
    std::size_t end = call.queries[0].end;
    for (std::size_t done = 0; done < call.count; ++used) {
      FixedQueries& group = queries[used];
      const std::size_t left = call.count - done;
      group.count = left < queries_at_a_time ? left : queries_at_a_time;
      group.row_bytes = row_bytes;
      group.high = reinterpret_cast<std::int8_t*>(take(queries_at_a_time * padded_row / 4));
      group.low = reinterpret_cast<std::int8_t*>(take(queries_at_a_time * padded_row / 4));
      group.factors = take(queries_at_a_time);
      group.bias = reinterpret_cast<std::int32_t*>(take(2 * queries_at_a_time));
      for (std::size_t i = 0; i < group.count; ++i, ++done) {
        const AttentionQuery& query = call.queries[done];
        if (query.first < first) first = query.first;
        if (query.end > end) end = query.end;
        cut_query(query.values, call.head_dim, call.scale * Base::log2_e, i, group);
        Base::clear_attention(query.state, call.value_stride);
      }
    }
    Sums::begin();
    const std::size_t seen_parts = (end + attention_part_positions - 1) / attention_part_positions;
    const std::size_t end_part = call.end_part < seen_parts ? call.end_part : seen_parts;
    std::size_t part = first / attention_part_positions;
    if (part < call.first_part) part = call.first_part;
    for (; part < end_part; ++part) {
      const FixedPart blocks = part_of(call, part, end);
      Seen seen_before{0, 0};
      float value_scale = 0;
      const AttentionQuery* query = call.queries;
      for (std::size_t g = 0; g < used; ++g) {
        Sums::all_scores(blocks, queries[g], scores);
        for (std::size_t i = 0; i < queries[g].count; ++i) {
          const Seen seen = seen_of(query[i], part);
          if (seen.nothing()) {
            make_no_weights(blocks, i, weights);
            continue;
          }
          // The heads of a row see the same, as all rows do of a part before theirs.
          if (seen.begin != seen_before.begin || seen.end != seen_before.end) {
            value_scale = largest_scale(blocks, seen);
            seen_before = seen;
          }
          const float* const own = scores + i * attention_part_positions;
          if (seen.all()) {
            make_weights<true>(blocks, seen, value_scale, own, i, weights);
          } else {
            make_weights<false>(blocks, seen, value_scale, own, i, weights);
          }
        }
        Sums::all_values(blocks, weights, queries[g].count, sums);
        for (std::size_t i = 0; i < queries[g].count; ++i) {
          Base::add_attention_part(query[i].state, call.value_stride, sums + i * call.value_stride,
                                   weights.largest[i], weights.total[i]);
        }
        query += queries[g].count;
      }
    }
    Sums::end();
  }

  static constexpr void enter(Kernels& table) {
    table.fast_cache = CacheElement::fixed16;
    table.attend[static_cast<std::size_t>(CacheElement::fixed16)] = attend;
    table.store_fixed16 = store;
  }
};

}  // namespace
}  // namespace fathom
