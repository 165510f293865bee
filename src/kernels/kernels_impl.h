// The kernels, written once over a vector type V that each instruction set defines: 16 float lanes
// (V::F) and 64 bytes or 16 int32 lanes (V::I). Included by kernels_<instruction set>.cc only.
//
// V must have internal linkage. Then everything here does too, and no code compiled for a large
// instruction set can be linked into code that runs on every processor. For the same reason this
// file calls nothing inline from the standard library.
//
// The order of every addition depends on the columns alone, never on how many rows or heads are
// computed together: that is what makes logits independent of batching.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace fathom {

template <class V>
struct KernelsFor {
  using F = typename V::F;
  using I = typename V::I;

  static const std::uint8_t* bytes(const std::byte* p) {
    return reinterpret_cast<const std::uint8_t*>(p);
  }
  static const std::uint16_t* halves(const std::uint8_t* p) {
    return reinterpret_cast<const std::uint16_t*>(p);
  }

  // ---- products -------------------------------------------------------------------------------

  static constexpr bool has_minimum(PackedForm form) {
    return form == PackedForm::int4_min || form == PackedForm::int5_min;
  }
  static constexpr std::size_t quant_bytes(PackedForm form) {
    switch (form) {
      case PackedForm::int4:
      case PackedForm::int4_min:
        return 256;
      case PackedForm::int5:
      case PackedForm::int5_min:
        return 320;
      case PackedForm::int6:
        return 384;
      default:
        return 512;
    }
  }

  // The 32 inputs of 16 rows as unsigned bytes: w[g] holds inputs 4g..4g+3 of each row.
  template <PackedForm form>
  static void unpack(const std::uint8_t* q, I (&w)[8]) {
    if constexpr (form == PackedForm::int8) {
      for (int g = 0; g < 8; ++g) w[g] = V::load_bytes(q + 64 * g);
    } else {
      for (int g = 0; g < 4; ++g) V::split_nibbles(V::load_bytes(q + 64 * g), w[g], w[g + 4]);
      if constexpr (form == PackedForm::int5 || form == PackedForm::int5_min) {
        for (int g = 0; g < 8; ++g) w[g] = V::add_bit4(w[g], q + 256 + 8 * g);
      }
      if constexpr (form == PackedForm::int6) {
        const I low = V::load_bytes(q + 256);
        const I high = V::load_bytes(q + 320);
        V::template add_bits45<0>(w[0], low);
        V::template add_bits45<1>(w[1], low);
        V::template add_bits45<2>(w[2], low);
        V::template add_bits45<3>(w[3], low);
        V::template add_bits45<0>(w[4], high);
        V::template add_bits45<1>(w[5], high);
        V::template add_bits45<2>(w[6], high);
        V::template add_bits45<3>(w[7], high);
      }
    }
  }

  // Found by trying 1, 2 and 4 KiB with `fathom bench`: 2 was the best, all were 25% faster than
  // none.
  static constexpr std::size_t prefetch_distance = 2048;

  template <PackedForm form>
  static I whole_dot(const I (&w)[8], const std::int8_t* q, const ActivationBlock& block) {
    return V::add_int(V::template dot<form, 0>(w, q, block.sum_low),
                      V::template dot<form, 4>(w, q, block.sum_high));
  }

  // The products of unpacked weights with 16 of a row's inputs, from `first_group` of four.
  template <PackedForm form, int first_group, bool with_residual>
  static F half_dot(const I (&w)[8], const std::int8_t* q, std::int32_t sum,
                    const std::int8_t* residuals, std::int32_t residual_sum) {
    const F dot = V::to_float(V::template dot<form, first_group>(w, q, sum));
    if constexpr (!with_residual) return dot;
    const F fine = V::to_float(V::template dot<form, first_group>(w, residuals, residual_sum));
    return V::fma(fine, V::set(1.0F / residual_steps), dot);
  }

  template <PackedForm form, int R, bool with_residual>
  static void integer_tile(const std::uint8_t* panel, std::size_t columns,
                           const ActivationView& activations, std::size_t first_row, float* out) {
    constexpr std::size_t step = panel_step_bytes(form);
    const std::size_t stride = activations.stride;
    const std::size_t block_stride = stride / block_inputs;
    const std::size_t first = first_row * stride;
    const ActivationBlock* const blocks = activations.blocks + first_row * block_stride;
    F sum[R];
    F minimums[R];
    for (int r = 0; r < R; ++r) sum[r] = minimums[r] = V::zero();
    const std::size_t block_count = columns / block_inputs;
    for (std::size_t b = 0; b < block_count; ++b, panel += step) {
      // A row by itself waits for memory, and the hardware's own prefetching stops at the ends of
      // pages. Past the last panel this touches nothing: a prefetch does not fault.
      if constexpr (R == 1) {
        for (std::size_t line = 0; line < step; line += 64) {
          __builtin_prefetch(panel + prefetch_distance + line);
        }
      }
      I w[8];
      unpack<form>(panel, w);
      const F scale = V::load_half(halves(panel + quant_bytes(form)));
      for (int r = 0; r < R; ++r) {
        const std::size_t at = static_cast<std::size_t>(r) * block_stride + b;
        const ActivationBlock& block = blocks[at];
        const std::int8_t* const q = activations.quantized + first + at * block_inputs;
        const std::int8_t* residuals = nullptr;
        ActivationBlock residual_block{};
        if constexpr (with_residual) {
          residuals = activations.residuals + first + at * block_inputs;
          residual_block = activations.residual_blocks[first_row * block_stride + at];
        }
        const F activation_scale = V::set(block.scale);
        if constexpr (form == PackedForm::int6) {
          const F scale_high = V::load_half(halves(panel + quant_bytes(form) + 32));
          const F low = half_dot<form, 0, with_residual>(w, q, block.sum_low, residuals,
                                                         residual_block.sum_low);
          const F high = half_dot<form, 4, with_residual>(w, q, block.sum_high, residuals,
                                                          residual_block.sum_high);
          sum[r] = V::fma(V::mul(scale, activation_scale), low, sum[r]);
          sum[r] = V::fma(V::mul(scale_high, activation_scale), high, sum[r]);
        } else {
          F dot = V::to_float(whole_dot<form>(w, q, block));
          if constexpr (with_residual) {
            const F fine = V::to_float(whole_dot<form>(w, residuals, residual_block));
            dot = V::fma(fine, V::set(1.0F / residual_steps), dot);
          }
          sum[r] = V::fma(V::mul(scale, activation_scale), dot, sum[r]);
          if constexpr (has_minimum(form)) {
            const F minimum = V::load_half(halves(panel + quant_bytes(form) + 32));
            minimums[r] = V::fma(minimum, V::set(block.scaled_sum), minimums[r]);
          }
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      if constexpr (has_minimum(form)) sum[r] = V::add(sum[r], minimums[r]);
      V::store(out + 16 * r, sum[r]);
    }
  }

  template <PackedForm form>
  static F load_weights(const std::uint8_t* p) {
    if constexpr (form == PackedForm::half) {
      return V::load_half(halves(p));
    } else if constexpr (form == PackedForm::bfloat16) {
      return V::load_bfloat16(halves(p));
    } else {
      return V::load(reinterpret_cast<const float*>(p));
    }
  }

  // Four sums a row, for columns 0, 1, 2 and 3 modulo 4: they hide the latency of the additions and
  // keep rounding errors small.
  template <PackedForm form, int R>
  static void float_tile(const std::uint8_t* panel, std::size_t columns,
                         const ActivationView& activations, std::size_t first_row, float* out) {
    constexpr std::size_t step = panel_step_bytes(form);
    const std::size_t stride = activations.stride;
    const float* const x = activations.values + first_row * stride;
    F sum[R][4];
    for (int r = 0; r < R; ++r) {
      for (int k = 0; k < 4; ++k) sum[r][k] = V::zero();
    }
    std::size_t c = 0;
    for (; c + 4 <= columns; c += 4, panel += 4 * step) {
      for (std::size_t k = 0; k < 4; ++k) {
        const F w = load_weights<form>(panel + k * step);
        for (int r = 0; r < R; ++r) {
          sum[r][k] = V::fma(w, V::set(x[static_cast<std::size_t>(r) * stride + c + k]), sum[r][k]);
        }
      }
    }
    for (std::size_t k = 0; c < columns; ++c, ++k, panel += step) {
      const F w = load_weights<form>(panel);
      for (int r = 0; r < R; ++r) {
        sum[r][k] = V::fma(w, V::set(x[static_cast<std::size_t>(r) * stride + c]), sum[r][k]);
      }
    }
    for (int r = 0; r < R; ++r) {
      V::store(out + 16 * r, V::add(V::add(sum[r][0], sum[r][1]), V::add(sum[r][2], sum[r][3])));
    }
  }

  template <PackedForm form, int R>
  static void tile(const std::uint8_t* panel, std::size_t columns,
                   const ActivationView& activations, std::size_t first_row, float* out) {
    if constexpr (is_integer(form)) {
      if (activations.residuals == nullptr) {
        integer_tile<form, R, false>(panel, columns, activations, first_row, out);
      } else {
        integer_tile<form, R, true>(panel, columns, activations, first_row, out);
      }
    } else {
      float_tile<form, R>(panel, columns, activations, first_row, out);
    }
  }

  template <PackedForm form>
  static void panel_product(const std::byte* panel, std::size_t columns,
                            const ActivationView& activations, std::size_t first_row,
                            std::size_t rows, float* out) {
    const std::uint8_t* const p = bytes(panel);
    if constexpr (is_integer(form)) {
      if (rows == 8) {
        tile<form, 8>(p, columns, activations, first_row, out);
        return;
      }
    }
    for (; rows >= 4; rows -= 4, first_row += 4, out += 64) {
      tile<form, 4>(p, columns, activations, first_row, out);
    }
    for (; rows >= 2; rows -= 2, first_row += 2, out += 32) {
      tile<form, 2>(p, columns, activations, first_row, out);
    }
    if (rows == 1) tile<form, 1>(p, columns, activations, first_row, out);
  }

  // ---- rows -----------------------------------------------------------------------------------

  static void quantize(const float* values, std::size_t n, std::int8_t* quantized,
                       ActivationBlock* blocks) {
    for (std::size_t i = 0; i < n; i += block_inputs, ++blocks) {
      const F low = V::load(values + i);
      const F high = V::load(values + i + 16);
      const float largest = V::reduce_max(V::max(V::abs(low), V::abs(high)));
      const float scale = largest / 127.0F;
      const F inverse = V::set(largest > 0 ? 127.0F / largest : 0.0F);
      blocks->scale = scale;
      blocks->sum_low = V::round_to_int8(V::mul(low, inverse), quantized + i);
      blocks->sum_high = V::round_to_int8(V::mul(high, inverse), quantized + i + 16);
      blocks->scaled_sum = scale * static_cast<float>(blocks->sum_low + blocks->sum_high);
    }
  }

  static void quantize_residual(const float* values, std::size_t n, std::int8_t* quantized,
                                ActivationBlock* blocks, std::int8_t* residuals,
                                ActivationBlock* residual_blocks) {
    quantize(values, n, quantized, blocks);
    for (std::size_t i = 0; i < n; i += block_inputs, ++blocks, ++residual_blocks) {
      const F inverse = V::set(blocks->scale > 0 ? 1.0F / blocks->scale : 0.0F);
      const auto residual = [&](std::size_t at) {
        const F rest = V::sub(V::mul(V::load(values + at), inverse), V::load_int8(quantized + at));
        // Rounding may leave a hair more than half a step.
        const F limit = V::set(127.0F);
        const F steps = V::mul(rest, V::set(residual_steps));
        const F clamped = V::max(V::min(steps, limit), V::sub(V::zero(), limit));
        return V::round_to_int8(clamped, residuals + at);
      };
      *residual_blocks = {};
      residual_blocks->sum_low = residual(i);
      residual_blocks->sum_high = residual(i + 16);
      const auto fine = static_cast<float>(residual_blocks->sum_low + residual_blocks->sum_high);
      blocks->scaled_sum += blocks->scale * (fine / residual_steps);
    }
  }

  static void rms_norm(const float* x, const float* weight, std::size_t n, float epsilon,
                       float* out) {
    F squares = V::zero();
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) {
      const F v = V::load(x + i);
      squares = V::fma(v, v, squares);
    }
    if (i < n) {
      const F v = V::load_part(x + i, n - i);
      squares = V::fma(v, v, squares);
    }
    const float mean = V::reduce_add(squares) / static_cast<float>(n);
    const F factor = V::set(1.0F / V::square_root(mean + epsilon));
    for (i = 0; i + 16 <= n; i += 16) {
      V::store(out + i, V::mul(V::mul(V::load(x + i), factor), V::load(weight + i)));
    }
    if (i < n) {
      const F v = V::mul(V::load_part(x + i, n - i), factor);
      V::store_part(out + i, V::mul(v, V::load_part(weight + i, n - i)), n - i);
    }
  }

  static void rotate_part(float* x, const float* cosines, const float* sines, std::size_t half,
                          std::size_t i, std::size_t count) {
    const F a = V::load_part(x + i, count);
    const F b = V::load_part(x + half + i, count);
    const F c = V::load_part(cosines + i, count);
    const F s = V::load_part(sines + i, count);
    V::store_part(x + i, V::sub(V::mul(a, c), V::mul(b, s)), count);
    V::store_part(x + half + i, V::add(V::mul(b, c), V::mul(a, s)), count);
  }

  static void rotate(float* x, const float* cosines, const float* sines, std::size_t half) {
    for (std::size_t i = 0; i < half; i += 16) {
      rotate_part(x, cosines, sines, half, i, half - i < 16 ? half - i : 16);
    }
  }

  // e^x for x <= 88, to about 1 part in 10^7: 2^n * e^r with |r| <= ln(2)/2, and a polynomial for
  // e^r (Taylor to degree 7).
  static F exponential(F x) {
    x = V::max(V::min(x, V::set(88.0F)), V::set(-87.0F));
    const F n = V::round(V::mul(x, V::set(1.44269504F)));
    F r = V::fma(n, V::set(-0.693359375F), x);
    r = V::fma(n, V::set(2.12194440e-4F), r);
    F p = V::set(1.0F / 5040);
    p = V::fma(p, r, V::set(1.0F / 720));
    p = V::fma(p, r, V::set(1.0F / 120));
    p = V::fma(p, r, V::set(1.0F / 24));
    p = V::fma(p, r, V::set(1.0F / 6));
    p = V::fma(p, r, V::set(0.5F));
    p = V::fma(p, r, V::set(1.0F));
    p = V::fma(p, r, V::set(1.0F));
    return V::scale_by_power_of_two(p, n);
  }

  static F silu(F x) { return V::div(x, V::add(V::set(1.0F), exponential(V::sub(V::zero(), x)))); }

  static void swiglu(float* gate, const float* up, std::size_t n) {
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) {
      V::store(gate + i, V::mul(silu(V::load(gate + i)), V::load(up + i)));
    }
    if (i < n) {
      const F v = V::mul(silu(V::load_part(gate + i, n - i)), V::load_part(up + i, n - i));
      V::store_part(gate + i, v, n - i);
    }
  }

  static void add(float* x, const float* y, std::size_t n) {
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) V::store(x + i, V::add(V::load(x + i), V::load(y + i)));
    if (i < n) {
      V::store_part(x + i, V::add(V::load_part(x + i, n - i), V::load_part(y + i, n - i)), n - i);
    }
  }

  static void to_half(const float* x, std::size_t n, std::uint16_t* out) {
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) V::store_half(out + i, V::load(x + i));
    if (i < n) V::store_half_part(out + i, V::load_part(x + i, n - i), n - i);
  }

  static void from_half(const std::uint16_t* x, std::size_t n, float* out) {
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) V::store(out + i, V::load_half(x + i));
    if (i < n) V::store_part(out + i, V::load_half_part(x + i, n - i), n - i);
  }

  // ---- attention ------------------------------------------------------------------------------

  static F load_cache(const std::uint16_t* p) { return V::load_half(p); }
  static F load_cache(const float* p) { return V::load(p); }

  // scores[h][64] = scale * (query h . key), for all 64 positions of a block.
  template <class Element, int H>
  static void block_scores(const AttentionCall& call, const Element* keys, float* scores) {
    F sum[H][4];
    for (int h = 0; h < H; ++h) {
      for (int k = 0; k < 4; ++k) sum[h][k] = V::zero();
    }
    for (std::size_t d = 0; d < call.head_dim; ++d, keys += cache_block_positions) {
      for (int k = 0; k < 4; ++k) {
        const F key = load_cache(keys + 16 * k);
        for (int h = 0; h < H; ++h) {
          const F query = V::set(call.queries[static_cast<std::size_t>(h) * call.head_dim + d]);
          sum[h][k] = V::fma(query, key, sum[h][k]);
        }
      }
    }
    const F scale = V::set(call.scale);
    for (int h = 0; h < H; ++h) {
      for (int k = 0; k < 4; ++k) V::store(scores + 64 * h + 16 * k, V::mul(sum[h][k], scale));
    }
  }

  // Sixteen dimensions of the weighted sum of values, for H heads.
  template <class Element, int H>
  static void add_values(const AttentionCall& call, const Element* values, std::size_t valid,
                         const float* weights, const float* corrections, float* sums) {
    F sum[H];
    for (int h = 0; h < H; ++h) {
      sum[h] = V::mul(V::load(sums + static_cast<std::size_t>(h) * call.value_stride),
                      V::set(corrections[h]));
    }
    for (std::size_t p = 0; p < valid; ++p, values += call.value_stride) {
      const F value = load_cache(values);
      for (int h = 0; h < H; ++h)
        sum[h] = V::fma(V::set(weights[64 * h + static_cast<int>(p)]), value, sum[h]);
    }
    for (int h = 0; h < H; ++h) {
      V::store(sums + static_cast<std::size_t>(h) * call.value_stride, sum[h]);
    }
  }

  // Softmax without a second pass: after each block the sums so far are brought to the largest
  // score seen [Milakov and Gimelshein 2018].
  template <class Element, int H>
  static void attend_heads(const AttentionCall& call) {
    float* const sums = call.scratch;                             // [H][value_stride]
    float* const weights = call.scratch + H * call.value_stride;  // [H][64]
    for (std::size_t i = 0; i < H * call.value_stride; i += 16) V::store(sums + i, V::zero());
    float largest[H];
    float total[H];
    float corrections[H];
    for (int h = 0; h < H; ++h) {
      largest[h] = -__builtin_inff();
      total[h] = 0;
    }
    for (std::size_t begin = 0; begin < call.positions; begin += cache_block_positions) {
      const std::size_t block = begin / cache_block_positions;
      const std::size_t left = call.positions - begin;
      const std::size_t valid = left < cache_block_positions ? left : cache_block_positions;
      block_scores<Element, H>(
          call, reinterpret_cast<const Element*>(call.blocks[block] + call.key_offset), weights);
      for (int h = 0; h < H; ++h) {
        float* const w = weights + 64 * h;
        for (std::size_t p = valid; p < cache_block_positions; ++p) w[p] = -__builtin_inff();
        F block_largest =
            V::max(V::max(V::load(w), V::load(w + 16)), V::max(V::load(w + 32), V::load(w + 48)));
        const float reduced = V::reduce_max(block_largest);
        const float now = reduced > largest[h] ? reduced : largest[h];
        F block_total = V::zero();
        for (int k = 0; k < 4; ++k) {
          const F e = exponential(V::sub(V::load(w + 16 * k), V::set(now)));
          V::store(w + 16 * k, e);
        }
        for (std::size_t p = valid; p < cache_block_positions; ++p) w[p] = 0;
        for (int k = 0; k < 4; ++k) block_total = V::add(block_total, V::load(w + 16 * k));
        corrections[h] = begin == 0 ? 0.0F : V::first(exponential(V::set(largest[h] - now)));
        total[h] = total[h] * corrections[h] + V::reduce_add(block_total);
        largest[h] = now;
      }
      const auto* const values =
          reinterpret_cast<const Element*>(call.blocks[block] + call.value_offset);
      for (std::size_t d = 0; d < call.value_stride; d += 16) {
        add_values<Element, H>(call, values + d, valid, weights, corrections, sums + d);
      }
    }
    for (int h = 0; h < H; ++h) {
      const auto head = static_cast<std::size_t>(h);
      const F inverse = V::set(1.0F / total[h]);
      for (std::size_t d = 0; d < call.head_dim; d += 16) {
        const F v = V::mul(V::load(sums + head * call.value_stride + d), inverse);
        const std::size_t count = call.head_dim - d < 16 ? call.head_dim - d : 16;
        V::store_part(call.out + head * call.head_dim + d, v, count);
      }
    }
  }

  template <class Element>
  static void attend(const AttentionCall& call) {
    switch (call.heads) {
      case 1:
        attend_heads<Element, 1>(call);
        return;
      case 2:
        attend_heads<Element, 2>(call);
        return;
      case 3:
        attend_heads<Element, 3>(call);
        return;
      default:
        attend_heads<Element, 4>(call);
        return;
    }
  }

  static constexpr Kernels table(std::string_view name) {
    Kernels k{};
    k.name = name;
    k.panel_product = {
        panel_product<PackedForm::int4>,    panel_product<PackedForm::int4_min>,
        panel_product<PackedForm::int5>,    panel_product<PackedForm::int5_min>,
        panel_product<PackedForm::int6>,    panel_product<PackedForm::int8>,
        panel_product<PackedForm::half>,    panel_product<PackedForm::bfloat16>,
        panel_product<PackedForm::float32>,
    };
    k.quantize = quantize;
    k.quantize_residual = quantize_residual;
    k.rms_norm = rms_norm;
    k.rotate = rotate;
    k.swiglu = swiglu;
    k.add = add;
    k.attend_half = attend<std::uint16_t>;
    k.attend_float = attend<float>;
    k.to_half = to_half;
    k.from_half = from_half;
    return k;
  }
};

}  // namespace fathom
