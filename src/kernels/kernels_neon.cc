#include "kernels/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels/kernels_impl.h"

namespace fathom {
namespace {

struct FloatQuad {
  float32x4_t a, b, c, d;  // lanes 0..3, 4..7, 8..11 and 12..15
};
// 64 bytes, or 16 int32 as their bits.
struct ByteQuad {
  uint8x16_t a, b, c, d;
};

struct Neon {
  using F = FloatQuad;
  using I = ByteQuad;
  static constexpr int accumulators = 6;  // F that fit into registers with room for others
  static constexpr int row_panels = 4;    // that a single row is multiplied with at once

  template <class Operation>
  static F map(Operation operation, F x) {
    return {operation(x.a), operation(x.b), operation(x.c), operation(x.d)};
  }
  template <class Operation>
  static F map(Operation operation, F x, F y) {
    return {operation(x.a, y.a), operation(x.b, y.b), operation(x.c, y.c), operation(x.d, y.d)};
  }
  template <class Operation>
  static I map(Operation operation, I x) {
    return {operation(x.a), operation(x.b), operation(x.c), operation(x.d)};
  }

  static F zero() { return set(0); }
  static F set(float x) {
    const float32x4_t v = vdupq_n_f32(x);
    return {v, v, v, v};
  }
  static F load(const float* p) {
    return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
  }
  static F load_part(const float* p, std::size_t n) {
    if (n == 16) return load(p);
    float whole[16] = {};
    for (std::size_t i = 0; i < n; ++i) whole[i] = p[i];
    return load(whole);
  }
  static void store(float* p, F x) {
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
  }
  static void store_part(float* p, F x, std::size_t n) {
    if (n == 16) {
      store(p, x);
      return;
    }
    float whole[16];
    store(whole, x);
    for (std::size_t i = 0; i < n; ++i) p[i] = whole[i];
  }
  static F load_half(const std::uint16_t* p) {
    const auto widen = [](const std::uint16_t* four) {
      return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(four)));
    };
    return {widen(p), widen(p + 4), widen(p + 8), widen(p + 12)};
  }
  static F load_half_part(const std::uint16_t* p, std::size_t n) {
    std::uint16_t whole[16] = {};
    for (std::size_t i = 0; i < n; ++i) whole[i] = p[i];
    return load_half(whole);
  }
  static F load_bfloat16(const std::uint16_t* p) {
    const auto widen = [](const std::uint16_t* four) {
      return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(four), 16));
    };
    return {widen(p), widen(p + 4), widen(p + 8), widen(p + 12)};
  }
  static void store_half(std::uint16_t* p, F x) {
    const auto narrow = [](float32x4_t v) { return vreinterpret_u16_f16(vcvt_f16_f32(v)); };
    vst1_u16(p, narrow(x.a));
    vst1_u16(p + 4, narrow(x.b));
    vst1_u16(p + 8, narrow(x.c));
    vst1_u16(p + 12, narrow(x.d));
  }
  static void store_half_part(std::uint16_t* p, F x, std::size_t n) {
    std::uint16_t whole[16];
    store_half(whole, x);
    for (std::size_t i = 0; i < n; ++i) p[i] = whole[i];
  }
  static F add(F x, F y) {
    return map([](float32x4_t v, float32x4_t w) { return vaddq_f32(v, w); }, x, y);
  }
  static F sub(F x, F y) {
    return map([](float32x4_t v, float32x4_t w) { return vsubq_f32(v, w); }, x, y);
  }
  static F mul(F x, F y) {
    return map([](float32x4_t v, float32x4_t w) { return vmulq_f32(v, w); }, x, y);
  }
  static F div(F x, F y) {
    return map([](float32x4_t v, float32x4_t w) { return vdivq_f32(v, w); }, x, y);
  }
  static F fma(F x, F y, F z) {
    return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
            vfmaq_f32(z.d, x.d, y.d)};
  }
  // The number where one is none, which the template asks for.
  static F max(F x, F y) {
    return map([](float32x4_t v, float32x4_t w) { return vmaxnmq_f32(v, w); }, x, y);
  }
  static F min(F x, F y) {
    return map([](float32x4_t v, float32x4_t w) { return vminq_f32(v, w); }, x, y);
  }
  static F abs(F x) {
    return map([](float32x4_t v) { return vabsq_f32(v); }, x);
  }
  static F round(F x) {
    return map([](float32x4_t v) { return vrndnq_f32(v); }, x);
  }
  // n is whole, from -126 to 127.
  static F scale_by_power_of_two(F x, F n) {
    return map(
        [](float32x4_t v, float32x4_t e) {
          const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(e), vdupq_n_s32(127));
          return vmulq_f32(v, vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)));
        },
        x, n);
  }
  static float first(F x) { return vgetq_lane_f32(x.a, 0); }
  static float square_root(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }
  static float reduce_add(F x) {
    const float32x4_t four = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vpadds_f32(two);
  }
  static float reduce_max(F x) {
    return vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(x.a, x.c), vmaxnmq_f32(x.b, x.d)));
  }

  static std::int32_t round_to_int8(F x, std::int8_t* out) {
    const auto narrow = [](float32x4_t v) { return vqmovn_s32(vcvtnq_s32_f32(v)); };
    const int16x8_t low = vcombine_s16(narrow(x.a), narrow(x.b));
    const int16x8_t high = vcombine_s16(narrow(x.c), narrow(x.d));
    const int8x16_t q = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
    vst1q_s8(out, q);
    return vaddlvq_s8(q);
  }

  static F load_int8(const std::int8_t* p) {
    const int8x16_t q = vld1q_s8(p);
    const auto widen = [](int16x4_t v) { return vcvtq_f32_s32(vmovl_s16(v)); };
    const int16x8_t low = vmovl_s8(vget_low_s8(q));
    const int16x8_t high = vmovl_s8(vget_high_s8(q));
    return {widen(vget_low_s16(low)), widen(vget_high_s16(low)), widen(vget_low_s16(high)),
            widen(vget_high_s16(high))};
  }

  static I load_bytes(const std::uint8_t* p) {
    return {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)};
  }
  static void split_nibbles(I packed, I& low, I& high) {
    low = map([](uint8x16_t v) { return vandq_u8(v, vdupq_n_u8(15)); }, packed);
    high = map([](uint8x16_t v) { return vshrq_n_u8(v, 4); }, packed);
  }
  // Adds 16 to byte i where bit i of the two bytes at `bits` is set.
  static uint8x16_t add_bit4(uint8x16_t w, const std::uint8_t* bits) {
    const uint8x16_t bit_of = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    const uint8x16_t spread = vcombine_u8(vld1_dup_u8(bits), vld1_dup_u8(bits + 1));
    return vorrq_u8(w, vandq_u8(vtstq_u8(spread, bit_of), vdupq_n_u8(16)));
  }
  static I add_bit4(I w, const std::uint8_t* bits) {
    return {add_bit4(w.a, bits), add_bit4(w.b, bits + 2), add_bit4(w.c, bits + 4),
            add_bit4(w.d, bits + 6)};
  }
  template <int field>
  static uint8x16_t add_bits45(uint8x16_t w, uint8x16_t fields) {
    uint8x16_t moved = fields;
    if constexpr (field < 2) moved = vshlq_n_u8(fields, 4 - 2 * field);
    if constexpr (field == 3) moved = vshrq_n_u8(fields, 2);
    return vorrq_u8(w, vandq_u8(moved, vdupq_n_u8(0x30)));
  }
  template <int field>
  static void add_bits45(I& w, I fields) {
    w = {add_bits45<field>(w.a, fields.a), add_bits45<field>(w.b, fields.b),
         add_bits45<field>(w.c, fields.c), add_bits45<field>(w.d, fields.d)};
  }

  // Four products of signed bytes to a lane are added in 32 bits, which overflows nowhere. What is
  // stored unsigned is below 64 and so the same signed, except in int8, where the offset of 128 is
  // taken back: there the bits then are q itself.
  template <PackedForm form>
  static int8x16_t as_signed(uint8x16_t w) {
    if constexpr (form == PackedForm::int8) w = veorq_u8(w, vdupq_n_u8(0x80));
    return vreinterpretq_s8_u8(w);
  }
  template <PackedForm form>
  static uint8x16_t dot_lanes(int32x4_t total, uint8x16_t w0, uint8x16_t w1, uint8x16_t w2,
                              uint8x16_t w3, int8x16_t a) {
    total = vdotq_laneq_s32(total, as_signed<form>(w0), a, 0);
    total = vdotq_laneq_s32(total, as_signed<form>(w1), a, 1);
    total = vdotq_laneq_s32(total, as_signed<form>(w2), a, 2);
    total = vdotq_laneq_s32(total, as_signed<form>(w3), a, 3);
    return vreinterpretq_u8_s32(total);
  }
  template <PackedForm form, int first_group>
  static I dot(const I (&w)[8], const std::int8_t* a, std::int32_t sum) {
    constexpr int offset = form == PackedForm::int8 ? 0 : stored_offset(form);
    const int32x4_t start = vdupq_n_s32(-offset * sum);
    const int8x16_t activations = vld1q_s8(a + 4 * first_group);
    const I& w0 = w[first_group];
    const I& w1 = w[first_group + 1];
    const I& w2 = w[first_group + 2];
    const I& w3 = w[first_group + 3];
    return {dot_lanes<form>(start, w0.a, w1.a, w2.a, w3.a, activations),
            dot_lanes<form>(start, w0.b, w1.b, w2.b, w3.b, activations),
            dot_lanes<form>(start, w0.c, w1.c, w2.c, w3.c, activations),
            dot_lanes<form>(start, w0.d, w1.d, w2.d, w3.d, activations)};
  }
  static uint8x16_t add_int(uint8x16_t x, uint8x16_t y) {
    return vreinterpretq_u8_s32(vaddq_s32(vreinterpretq_s32_u8(x), vreinterpretq_s32_u8(y)));
  }
  static I add_int(I x, I y) {
    return {add_int(x.a, y.a), add_int(x.b, y.b), add_int(x.c, y.c), add_int(x.d, y.d)};
  }
  static F to_float(I x) {
    const auto convert = [](uint8x16_t v) { return vcvtq_f32_s32(vreinterpretq_s32_u8(v)); };
    return {convert(x.a), convert(x.b), convert(x.c), convert(x.d)};
  }
};

constexpr Kernels table = KernelsFor<Neon>::table("neon");

}  // namespace

const Kernels* kernels_neon() { return &table; }

}  // namespace fathom

#else

namespace fathom {
const Kernels* kernels_neon() { return nullptr; }
}  // namespace fathom

#endif
