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

  // Within each of P panels that are read at once, by trying (docs/performance.md).
  template <int P>
  static constexpr std::size_t prefetch_distance = P == 1 ? 2048 : 1024;

  // Who goes through weights once waits for memory, and the hardware's own prefetching stops at the
  // ends of pages. Past the last panel this touches nothing: a prefetch does not fault.
  template <std::size_t size>
  static void prefetch(const std::uint8_t* from) {
    for (std::size_t line = 0; line < size; line += 64) __builtin_prefetch(from + line);
  }

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

  // R rows against P panels that lie one after another; outputs of row r and panel p at
  // out[r * out_stride + 16 p]. One of R and P is 1.
  template <PackedForm form, int R, int P, bool with_residual>
  static void integer_tile(const std::uint8_t* panel, std::size_t columns,
                           const ActivationView& activations, std::size_t first_row, float* out,
                           std::size_t out_stride) {
    constexpr std::size_t step = panel_step_bytes(form);
    const std::size_t stride = activations.stride;
    const std::size_t block_stride = stride / block_inputs;
    const std::size_t first = first_row * stride;
    const ActivationBlock* const blocks = activations.blocks + first_row * block_stride;
    F sum[R * P];
    F minimums[R * P];
    for (int i = 0; i < R * P; ++i) sum[i] = minimums[i] = V::zero();
    const std::size_t block_count = columns / block_inputs;
    for (std::size_t b = 0; b < block_count; ++b, panel += step) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const std::uint8_t* const weights =
            panel + static_cast<std::size_t>(p) * block_count * step;
        prefetch<step>(weights + prefetch_distance<P>);
        I w[8];
        unpack<form>(weights, w);
        const F scale = V::load_half(halves(weights + quant_bytes(form)));
        for (int r = 0; r < R; ++r) {
          const int i = r + p;
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
            const F scale_high = V::load_half(halves(weights + quant_bytes(form) + 32));
            const F low = half_dot<form, 0, with_residual>(w, q, block.sum_low, residuals,
                                                           residual_block.sum_low);
            const F high = half_dot<form, 4, with_residual>(w, q, block.sum_high, residuals,
                                                            residual_block.sum_high);
            sum[i] = V::fma(V::mul(scale, activation_scale), low, sum[i]);
            sum[i] = V::fma(V::mul(scale_high, activation_scale), high, sum[i]);
          } else {
            F dot = V::to_float(whole_dot<form>(w, q, block));
            if constexpr (with_residual) {
              const F fine = V::to_float(whole_dot<form>(w, residuals, residual_block));
              dot = V::fma(fine, V::set(1.0F / residual_steps), dot);
            }
            sum[i] = V::fma(V::mul(scale, activation_scale), dot, sum[i]);
            if constexpr (has_minimum(form)) {
              const F minimum = V::load_half(halves(weights + quant_bytes(form) + 32));
              minimums[i] = V::fma(minimum, V::set(block.scaled_sum), minimums[i]);
            }
          }
        }
      }
    }
    for (int i = 0; i < R * P; ++i) {
      if constexpr (has_minimum(form)) sum[i] = V::add(sum[i], minimums[i]);
      V::store(out + static_cast<std::size_t>(i) * (R == 1 ? panel_rows : out_stride), sum[i]);
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
                         const ActivationView& activations, std::size_t first_row, float* out,
                         std::size_t out_stride) {
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
      const F total = V::add(V::add(sum[r][0], sum[r][1]), V::add(sum[r][2], sum[r][3]));
      V::store(out + static_cast<std::size_t>(r) * out_stride, total);
    }
  }

  template <PackedForm form, int R>
  static void tile(const std::uint8_t* panel, std::size_t columns,
                   const ActivationView& activations, std::size_t first_row, float* out,
                   std::size_t out_stride) {
    if constexpr (is_integer(form)) {
      if (activations.residuals == nullptr) {
        integer_tile<form, R, 1, false>(panel, columns, activations, first_row, out, out_stride);
      } else {
        integer_tile<form, R, 1, true>(panel, columns, activations, first_row, out, out_stride);
      }
    } else {
      float_tile<form, R>(panel, columns, activations, first_row, out, out_stride);
    }
  }

  template <PackedForm form>
  static void panel_product(const std::byte* panel, std::size_t columns,
                            const ActivationView& activations, std::size_t first_row,
                            std::size_t rows, float* out, std::size_t out_stride) {
    const std::uint8_t* const p = bytes(panel);
    if constexpr (is_integer(form)) {
      if (rows == 8) {
        tile<form, 8>(p, columns, activations, first_row, out, out_stride);
        return;
      }
    }
    for (; rows >= 4; rows -= 4, first_row += 4, out += 4 * out_stride) {
      tile<form, 4>(p, columns, activations, first_row, out, out_stride);
    }
    for (; rows >= 2; rows -= 2, first_row += 2, out += 2 * out_stride) {
      tile<form, 2>(p, columns, activations, first_row, out, out_stride);
    }
    if (rows == 1) tile<form, 1>(p, columns, activations, first_row, out, out_stride);
  }

  template <PackedForm form>
  static void row_product(const std::byte* panel, std::size_t columns, std::size_t panels,
                          const ActivationView& activations, std::size_t row, float* out) {
    const std::uint8_t* p = bytes(panel);
    const std::size_t panel_bytes =
        panel_step_bytes(form) * (is_integer(form) ? columns / block_inputs : columns);
    if constexpr (is_integer(form)) {
      constexpr int P = V::row_panels;
      for (; panels >= P; panels -= P, p += P * panel_bytes, out += P * panel_rows) {
        if (activations.residuals == nullptr) {
          integer_tile<form, 1, P, false>(p, columns, activations, row, out, 0);
        } else {
          integer_tile<form, 1, P, true>(p, columns, activations, row, out, 0);
        }
      }
    }
    for (; panels > 0; --panels, p += panel_bytes, out += panel_rows) {
      tile<form, 1>(p, columns, activations, row, out, 0);
    }
  }

  static float panel_maximum(const float* values) {
    // The second operand is taken where the first is no number.
    return V::reduce_max(V::max(V::load(values), V::set(-__builtin_inff())));
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

  // Two passes, so that a mean far from zero costs no digits of the variance.
  static void layer_norm(const float* x, const float* weight, const float* bias, std::size_t n,
                         float epsilon, float* out) {
    F sum = V::zero();
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) sum = V::add(sum, V::load(x + i));
    if (i < n) sum = V::add(sum, V::load_part(x + i, n - i));
    const F mean = V::set(V::reduce_add(sum) / static_cast<float>(n));
    F squares = V::zero();
    for (i = 0; i + 16 <= n; i += 16) {
      const F v = V::sub(V::load(x + i), mean);
      squares = V::fma(v, v, squares);
    }
    if (i < n) {
      // What is beyond the end is the mean, and so adds nothing.
      alignas(64) float rest[16];
      V::store(rest, mean);
      for (std::size_t k = 0; k < n - i; ++k) rest[k] = x[i + k];
      const F v = V::sub(V::load(rest), mean);
      squares = V::fma(v, v, squares);
    }
    const float variance = V::reduce_add(squares) / static_cast<float>(n);
    const F factor = V::set(1.0F / V::square_root(variance + epsilon));
    for (i = 0; i + 16 <= n; i += 16) {
      const F v = V::mul(V::sub(V::load(x + i), mean), factor);
      V::store(out + i, V::fma(v, V::load(weight + i), V::load(bias + i)));
    }
    if (i < n) {
      const F v = V::mul(V::sub(V::load_part(x + i, n - i), mean), factor);
      V::store_part(out + i,
                    V::fma(v, V::load_part(weight + i, n - i), V::load_part(bias + i, n - i)),
                    n - i);
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

  static constexpr float log2_e = 1.44269504F;

  // e^x for x <= 88, to about 1 part in 10^7: 2^n * e^r with |r| <= ln(2)/2, and a polynomial for
  // e^r (Taylor to degree 7).
  static F exponential(F x) {
    x = V::max(V::min(x, V::set(88.0F)), V::set(-87.0F));
    const F n = V::round(V::mul(x, V::set(log2_e)));
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

  static F relu(F x) { return V::max(V::zero(), x); }

  // x * Phi(x) = max(x, 0) - |x|/2 * erfc(|x| / sqrt 2), with the complementary error function to
  // 1.5 parts in 10^7 [Abramowitz and Stegun 7.1.26].
  static F gelu(F x) {
    const F magnitude = V::max(x, V::sub(V::zero(), x));
    const F z = V::mul(magnitude, V::set(0.70710678F));
    const F t = V::div(V::set(1.0F), V::fma(z, V::set(0.3275911F), V::set(1.0F)));
    F p = V::set(1.061405429F);
    p = V::fma(p, t, V::set(-1.453152027F));
    p = V::fma(p, t, V::set(1.421413741F));
    p = V::fma(p, t, V::set(-0.284496736F));
    p = V::fma(p, t, V::set(0.254829592F));
    const F complement = V::mul(V::mul(p, t), exponential(V::sub(V::zero(), V::mul(z, z))));
    return V::sub(relu(x), V::mul(V::mul(magnitude, V::set(0.5F)), complement));
  }

  // x/2 * (1 + tanh u) = x * sigmoid(2u) with u = sqrt(2/pi) * (x + 0.044715 x^3).
  static F gelu_tanh(F x) {
    const F square = V::mul(x, x);
    const F inner = V::fma(square, V::set(0.044715F), V::set(1.0F));
    const F minus_2u = V::mul(V::mul(x, inner), V::set(-1.59576912F));
    return V::div(x, V::add(V::set(1.0F), exponential(minus_2u)));
  }

  template <Activation activation>
  static F activated(F x) {
    if constexpr (activation == Activation::silu) return silu(x);
    if constexpr (activation == Activation::relu) return relu(x);
    if constexpr (activation == Activation::gelu) return gelu(x);
    if constexpr (activation == Activation::gelu_tanh) return gelu_tanh(x);
  }

  template <Activation activation>
  static void activate(float* x, std::size_t n) {
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) V::store(x + i, activated<activation>(V::load(x + i)));
    if (i < n) V::store_part(x + i, activated<activation>(V::load_part(x + i, n - i)), n - i);
  }

  template <Activation activation>
  static void gated(float* gate, const float* up, std::size_t n) {
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) {
      V::store(gate + i, V::mul(activated<activation>(V::load(gate + i)), V::load(up + i)));
    }
    if (i < n) {
      const F v = activated<activation>(V::load_part(gate + i, n - i));
      V::store_part(gate + i, V::mul(v, V::load_part(up + i, n - i)), n - i);
    }
  }

  static void scale(float* x, float factor, std::size_t n) {
    const F f = V::set(factor);
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) V::store(x + i, V::mul(V::load(x + i), f));
    if (i < n) V::store_part(x + i, V::mul(V::load_part(x + i, n - i), f), n - i);
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

  // 2^x for x <= 0, to about 1 part in 10^7, from 2^-126 down always that: 2^n * 2^r with
  // |r| <= 1/2, and a polynomial for 2^r (Taylor to degree 7). 1 for 0.
  static F exponential2(F x) {
    x = V::max(V::set(-126.0F), x);  // in this order not-a-number stays
    const F n = V::round(x);
    const F r = V::sub(x, n);
    F p = V::set(1.52527338e-5F);
    p = V::fma(p, r, V::set(1.54035304e-4F));
    p = V::fma(p, r, V::set(1.33335581e-3F));
    p = V::fma(p, r, V::set(9.61812911e-3F));
    p = V::fma(p, r, V::set(5.55041087e-2F));
    p = V::fma(p, r, V::set(2.40226507e-1F));
    p = V::fma(p, r, V::set(6.93147181e-1F));
    p = V::fma(p, r, V::set(1.0F));
    return V::scale_by_power_of_two(p, n);
  }

  static void clear_attention(float* state, std::size_t value_stride) {
    for (std::size_t d = 0; d < value_stride + 16; d += 16) V::store(state + d, V::zero());
    state[value_stride + attention_largest] = -__builtin_inff();
  }

  // Puts a further part's sums to a state, both brought to the greater of their largest scores
  // [Milakov and Gimelshein 2018]. A part of which nothing is seen has a total of 0.
  static void add_attention_part(float* state, std::size_t value_stride, const float* sums,
                                 float largest, float total) {
    if (total == 0) return;
    float* const largest_before = state + value_stride + attention_largest;
    float* const total_before = state + value_stride + attention_total;
    const float now = largest > *largest_before ? largest : *largest_before;
    const F old_factor = exponential2(V::set(*largest_before - now));
    const F new_factor = exponential2(V::set(largest - now));
    for (std::size_t d = 0; d < value_stride; d += 16) {
      const F old_sums = V::mul(V::load(state + d), old_factor);
      V::store(state + d, V::fma(V::load(sums + d), new_factor, old_sums));
    }
    *largest_before = now;
    *total_before = *total_before * V::first(old_factor) + total * V::first(new_factor);
  }

  static void add_attention(float* state, std::size_t value_stride, const float* other) {
    add_attention_part(state, value_stride, other, other[value_stride + attention_largest],
                       other[value_stride + attention_total]);
  }

  static void finish_attention(const float* state, std::size_t head_dim, std::size_t value_stride,
                               float* out) {
    const F inverse = V::set(1.0F / state[value_stride + attention_total]);
    for (std::size_t d = 0; d < head_dim; d += 16) {
      const F v = V::mul(V::load(state + d), inverse);
      V::store_part(out + d, v, head_dim - d < 16 ? head_dim - d : 16);
    }
  }

  static F load_cache(const std::uint16_t* p) { return V::load_half(p); }
  static F load_cache(const float* p) { return V::load(p); }

  // Asks for 64 numbers that the next block will need.
  template <class Element>
  static void fetch_ahead(const Element* from) {
    const auto* const address = reinterpret_cast<const std::byte*>(from);
    for (std::size_t line = 0; line < 64 * sizeof(Element); line += 64) {
      __builtin_prefetch(address + line);
    }
  }

  // How many vectors of 16 to take at once for each of Q queries, so that all sums stay in
  // registers.
  template <int Q>
  static constexpr int vectors_at_once = V::accumulators / Q >= 4   ? 4
                                         : V::accumulators / Q >= 2 ? 2
                                                                    : 1;

  // Queries that are computed together, and what is kept of each from block to block.
  template <int Q>
  struct QueryGroup {
    float* interleaved;  // [head_dim][Q]: the queries, which are broadcast one by one
    float* sums;         // [Q][value_stride]: of values times weights
    float* weights;      // [Q][64]: of one block
    float largest[Q];    // score
    float total[Q];      // of weights
    // What the sums and totals so far are multiplied by: 2^(the largest before - the largest now).
    float corrections[16];
  };

  // weights[q][64] = scale * (query q . key), in powers of two, for all 64 positions of a block.
  template <class Element, int Q>
  static void block_scores(const AttentionCall& call, const Element* keys, const Element* next,
                           QueryGroup<Q>& group) {
    constexpr int K = vectors_at_once<Q>;
    const F scale = V::set(call.scale * log2_e);
    for (int first = 0; first < 4; first += K) {
      F sum[Q][K];
#pragma GCC unroll 12
      for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 12
        for (int k = 0; k < K; ++k) sum[q][k] = V::zero();
      }
      const Element* key = keys + 16 * first;
      const float* query = group.interleaved;
      for (std::size_t d = 0; d < call.head_dim; ++d, key += cache_block_positions, query += Q) {
        // Few queries wait for memory.
        if constexpr (K == 4) fetch_ahead<Element>(next + d * cache_block_positions);
        F key_vectors[K];
#pragma GCC unroll 12
        for (int k = 0; k < K; ++k) key_vectors[k] = load_cache(key + 16 * k);
#pragma GCC unroll 12
        for (int q = 0; q < Q; ++q) {
          const F value = V::set(query[q]);
#pragma GCC unroll 12
          for (int k = 0; k < K; ++k) sum[q][k] = V::fma(value, key_vectors[k], sum[q][k]);
        }
      }
#pragma GCC unroll 12
      for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 12
        for (int k = 0; k < K; ++k) {
          V::store(group.weights + 64 * q + 16 * (first + k), V::mul(sum[q][k], scale));
        }
      }
    }
  }

  // Positions of a block, counted from its first.
  struct BlockRange {
    std::size_t begin;
    std::size_t end;
  };

  // Scores of a block, of which the query sees some, become weights 2^(score - largest). The
  // logarithm of the correction is left where that belongs.
  template <int Q>
  static void block_weights(BlockRange seen, int q, QueryGroup<Q>& group) {
    float* const w = group.weights + 64 * q;
    if (seen.begin >= seen.end) {
      for (int k = 0; k < 4; ++k) V::store(w + 16 * k, V::zero());
      group.corrections[q] = 0;
      return;
    }
    for (std::size_t p = 0; p < seen.begin; ++p) w[p] = -__builtin_inff();
    for (std::size_t p = seen.end; p < cache_block_positions; ++p) w[p] = -__builtin_inff();
    const F block_largest =
        V::max(V::max(V::load(w), V::load(w + 16)), V::max(V::load(w + 32), V::load(w + 48)));
    const float reduced = V::reduce_max(block_largest);
    const float before = group.largest[q];
    const float now = reduced > before ? reduced : before;
    for (int k = 0; k < 4; ++k) {
      V::store(w + 16 * k, exponential2(V::sub(V::load(w + 16 * k), V::set(now))));
    }
    for (std::size_t p = 0; p < seen.begin; ++p) w[p] = 0;
    for (std::size_t p = seen.end; p < cache_block_positions; ++p) w[p] = 0;
    group.corrections[q] = before - now;
    group.largest[q] = now;
  }

  // The corrections of all queries at once, and their totals.
  template <int Q>
  static void correct_totals(QueryGroup<Q>& group) {
    V::store(group.corrections, exponential2(V::load(group.corrections)));
    for (int q = 0; q < Q; ++q) {
      const float* const w = group.weights + 64 * q;
      F block_total = V::zero();
      for (int k = 0; k < 4; ++k) block_total = V::add(block_total, V::load(w + 16 * k));
      group.total[q] = group.total[q] * group.corrections[q] + V::reduce_add(block_total);
    }
  }

  // 16 * D dimensions of the sums of the values of `positions` positions, times their weights.
  template <class Element, int Q, int D>
  static void add_values(const AttentionCall& call, const Element* values, std::size_t positions,
                         std::size_t dimension, const Element* next, QueryGroup<Q>& group) {
    F sum[Q][D];
    float* const sums = group.sums + dimension;
#pragma GCC unroll 12
    for (int q = 0; q < Q; ++q) {
      const F correction = V::set(group.corrections[q]);
#pragma GCC unroll 12
      for (int d = 0; d < D; ++d) {
        const F before = V::load(sums + static_cast<std::size_t>(q) * call.value_stride + 16 * d);
        sum[q][d] = V::mul(before, correction);
      }
    }
    const Element* value = values + dimension;
    for (std::size_t p = 0; p < positions; ++p, value += call.value_stride) {
      if constexpr (D == 4) fetch_ahead<Element>(next + p * call.value_stride + dimension);
      F value_vectors[D];
#pragma GCC unroll 12
      for (int d = 0; d < D; ++d) value_vectors[d] = load_cache(value + 16 * d);
#pragma GCC unroll 12
      for (int q = 0; q < Q; ++q) {
        const F weight = V::set(group.weights[64 * q + static_cast<int>(p)]);
#pragma GCC unroll 12
        for (int d = 0; d < D; ++d) sum[q][d] = V::fma(weight, value_vectors[d], sum[q][d]);
      }
    }
#pragma GCC unroll 12
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 12
      for (int d = 0; d < D; ++d) {
        V::store(sums + static_cast<std::size_t>(q) * call.value_stride + 16 * d, sum[q][d]);
      }
    }
  }

  // The part of a block's positions that a query sees.
  static BlockRange seen_of(const AttentionQuery& query, std::size_t block_begin) {
    const auto within = [&](std::size_t position) {
      const std::size_t from_begin = position > block_begin ? position - block_begin : 0;
      return from_begin < cache_block_positions ? from_begin : cache_block_positions;
    };
    return {within(query.first), within(query.end)};
  }

  // One part, softmax in one pass: after each block the sums so far are brought to the largest
  // score seen.
  template <class Element, int Q>
  static void attend_part(const AttentionCall& call, const AttentionQuery* queries,
                          std::size_t part, BlockRange all, QueryGroup<Q>& group) {
    constexpr std::size_t count = Q;
    V::store(group.corrections, V::zero());
    for (std::size_t q = 0; q < count; ++q) {
      group.largest[q] = -__builtin_inff();
      group.total[q] = 0;
    }
    for (std::size_t i = 0; i < count * call.value_stride; i += 16) {
      V::store(group.sums + i, V::zero());
    }
    constexpr std::size_t together = 16 * vectors_at_once<Q>;
    const std::size_t part_end = (part + 1) * attention_part_positions;
    const std::size_t end = all.end < part_end ? all.end : part_end;
    std::size_t begin = part * attention_part_positions;
    if (all.begin > begin) begin = all.begin / cache_block_positions * cache_block_positions;
    for (; begin < end; begin += cache_block_positions) {
      const bool last = begin + cache_block_positions >= all.end;
      const std::byte* const* const pointer = call.blocks + begin / cache_block_positions;
      const std::byte* const block = pointer[0];
      const std::byte* const next = last ? block : pointer[1];
      const auto keys_of = [&](const std::byte* b) {
        return reinterpret_cast<const Element*>(b + call.key_offset);
      };
      const auto values_of = [&](const std::byte* b) {
        return reinterpret_cast<const Element*>(b + call.value_offset);
      };
      block_scores<Element, Q>(call, keys_of(block), keys_of(next), group);
      std::size_t most_seen = 0;
      for (int q = 0; q < Q; ++q) {
        const BlockRange seen = seen_of(queries[q], begin);
        if (seen.end > most_seen) most_seen = seen.end;
        block_weights<Q>(seen, q, group);
      }
      correct_totals<Q>(group);
      const Element* const values = values_of(block);
      std::size_t d = 0;
      for (; d + together <= call.value_stride; d += together) {
        add_values<Element, Q, vectors_at_once<Q>>(call, values, most_seen, d, values_of(next),
                                                   group);
      }
      for (; d < call.value_stride; d += 16) {
        add_values<Element, Q, 1>(call, values, most_seen, d, values_of(next), group);
      }
    }
  }

  template <class Element, int Q>
  static void attend_group(const AttentionCall& call, const AttentionQuery* queries) {
    constexpr std::size_t count = Q;
    QueryGroup<Q> group;
    group.interleaved = call.scratch;
    group.sums = group.interleaved + count * call.value_stride;
    group.weights = group.sums + count * call.value_stride;
    BlockRange all{queries[0].first, queries[0].end};
    for (std::size_t q = 0; q < count; ++q) {
      if (queries[q].first < all.begin) all.begin = queries[q].first;
      if (queries[q].end > all.end) all.end = queries[q].end;
      for (std::size_t d = 0; d < call.head_dim; ++d) {
        group.interleaved[d * count + q] = queries[q].values[d];
      }
      clear_attention(queries[q].state, call.value_stride);
    }
    for (std::size_t part = call.first_part; part < call.end_part; ++part) {
      attend_part<Element, Q>(call, queries, part, all, group);
      for (std::size_t q = 0; q < count; ++q) {
        add_attention_part(queries[q].state, call.value_stride, group.sums + q * call.value_stride,
                           group.largest[q], group.total[q]);
      }
    }
  }

  // As many queries at once as there are registers for, then what is left.
  template <class Element, int Q>
  static void attend_groups(const AttentionCall& call, std::size_t done) {
    if constexpr (Q <= V::accumulators) {
      for (; call.count - done >= Q; done += Q) {
        attend_group<Element, Q>(call, call.queries + done);
      }
    }
    if constexpr (Q > 1) {
      constexpr int smaller = Q == 12 ? 9 : Q == 9 ? 6 : Q == 6 ? 4 : Q - 1;
      if (done < call.count) attend_groups<Element, smaller>(call, done);
    }
  }

  template <class Element>
  static void attend(const AttentionCall& call) {
    attend_groups<Element, 12>(call, 0);
  }

  static constexpr Kernels table(std::string_view name) {
    Kernels k{};
    k.name = name;
    k.panel_product_rows = 8;
    k.panel_product = {
        panel_product<PackedForm::int4>,    panel_product<PackedForm::int4_min>,
        panel_product<PackedForm::int5>,    panel_product<PackedForm::int5_min>,
        panel_product<PackedForm::int6>,    panel_product<PackedForm::int8>,
        panel_product<PackedForm::half>,    panel_product<PackedForm::bfloat16>,
        panel_product<PackedForm::float32>,
    };
    k.row_product = {
        row_product<PackedForm::int4>,    row_product<PackedForm::int4_min>,
        row_product<PackedForm::int5>,    row_product<PackedForm::int5_min>,
        row_product<PackedForm::int6>,    row_product<PackedForm::int8>,
        row_product<PackedForm::half>,    row_product<PackedForm::bfloat16>,
        row_product<PackedForm::float32>,
    };
    k.panel_maximum = panel_maximum;
    k.quantize = quantize;
    k.quantize_residual = quantize_residual;
    k.rms_norm = rms_norm;
    k.layer_norm = layer_norm;
    k.rotate = rotate;
    k.activate = {activate<Activation::silu>, activate<Activation::relu>,
                  activate<Activation::gelu>, activate<Activation::gelu_tanh>};
    k.gated = {gated<Activation::silu>, gated<Activation::relu>, gated<Activation::gelu>,
               gated<Activation::gelu_tanh>};
    k.scale = scale;
    k.add = add;
    k.fast_cache = CacheElement::half;
    k.attend[static_cast<std::size_t>(CacheElement::float32)] = attend<float>;
    k.attend[static_cast<std::size_t>(CacheElement::half)] = attend<std::uint16_t>;
    k.add_attention = add_attention;
    k.finish_attention = finish_attention;
    k.to_half = to_half;
    k.from_half = from_half;
    return k;
  }
};

}  // namespace fathom
