#include "kernels/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/kernels_impl.h"

namespace fathom {
namespace {

struct FloatPair {
  __m256 a, b;  // lanes 0..7 and 8..15
};
struct IntPair {
  __m256i a, b;
};

struct Avx2 {
  using F = FloatPair;
  using I = IntPair;
  static constexpr int accumulators = 6;  // F that fit into registers with room for others
  static constexpr int row_panels = 4;    // that a single row is multiplied with at once

  // Lanes below n, as a mask of eight for lanes first..first+7.
  static __m256i lanes_below(std::size_t n, int first) {
    const __m256i lane =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
  }

  static F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static F load_part(const float* p, std::size_t n) {
    return {_mm256_maskload_ps(p, lanes_below(n, 0)),
            n > 8 ? _mm256_maskload_ps(p + 8, lanes_below(n, 8)) : _mm256_setzero_ps()};
  }
  static void store(float* p, F x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
  }
  static void store_part(float* p, F x, std::size_t n) {
    _mm256_maskstore_ps(p, lanes_below(n, 0), x.a);
    if (n > 8) _mm256_maskstore_ps(p + 8, lanes_below(n, 8), x.b);
  }
  static F load_half(const std::uint16_t* p) {
    const auto* const v = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(v)), _mm256_cvtph_ps(_mm_loadu_si128(v + 1))};
  }
  static F load_half_part(const std::uint16_t* p, std::size_t n) {
    alignas(32) std::uint16_t whole[16] = {};
    for (std::size_t i = 0; i < n; ++i) whole[i] = p[i];
    return load_half(whole);
  }
  static F load_bfloat16(const std::uint16_t* p) {
    const auto* const v = reinterpret_cast<const __m128i*>(p);
    const auto widen = [](__m128i bits) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    };
    return {widen(_mm_loadu_si128(v)), widen(_mm_loadu_si128(v + 1))};
  }
  static void store_half(std::uint16_t* p, F x) {
    auto* const v = reinterpret_cast<__m128i*>(p);
    _mm_storeu_si128(v, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(v + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
  }
  static void store_half_part(std::uint16_t* p, F x, std::size_t n) {
    alignas(32) std::uint16_t whole[16];
    store_half(whole, x);
    for (std::size_t i = 0; i < n; ++i) p[i] = whole[i];
  }
  static F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  static F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static F fma(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static F abs(F x) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
  }
  static F round(F x) {
    constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, mode), _mm256_round_ps(x.b, mode)};
  }
  // n is whole, from -126 to 127.
  static F scale_by_power_of_two(F x, F n) {
    const auto power = [](__m256 e) {
      const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(e), _mm256_set1_epi32(127));
      return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    };
    return {_mm256_mul_ps(x.a, power(n.a)), _mm256_mul_ps(x.b, power(n.b))};
  }
  static float first(F x) { return _mm256_cvtss_f32(x.a); }
  static float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  static float reduce_add(F x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    __m128 v = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
  }
  static float reduce_max(F x) {
    const __m256 eight = _mm256_max_ps(x.a, x.b);
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
  }

  static std::int32_t round_to_int8(F x, std::int8_t* out) {
    const __m256i qa = _mm256_cvtps_epi32(x.a);
    const __m256i qb = _mm256_cvtps_epi32(x.b);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(qa, qb), 0xd8);
    const __m128i low = _mm256_castsi256_si128(words);
    const __m128i high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_packs_epi16(low, high));
    const __m256i eight = _mm256_add_epi32(qa, qb);
    __m128i v = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
    return _mm_cvtsi128_si32(v);
  }

  static F load_int8(const std::int8_t* p) {
    const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)))};
  }

  static I load_bytes(const std::uint8_t* p) {
    const auto* const v = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }
  static void split_nibbles(I packed, I& low, I& high) {
    const __m256i mask = _mm256_set1_epi8(15);
    low = {_mm256_and_si256(packed.a, mask), _mm256_and_si256(packed.b, mask)};
    high = {_mm256_and_si256(_mm256_srli_epi16(packed.a, 4), mask),
            _mm256_and_si256(_mm256_srli_epi16(packed.b, 4), mask)};
  }
  // Byte i of the result is 16 where bit i is set.
  static __m256i spread_bits(std::uint32_t bits) {
    const __m256i byte_of = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2,
                                             2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit_of = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
    const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), byte_of);
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit_of), bit_of);
    return _mm256_and_si256(set, _mm256_set1_epi8(16));
  }
  static I add_bit4(I w, const std::uint8_t* bits) {
    std::uint32_t low;
    std::uint32_t high;
    __builtin_memcpy(&low, bits, 4);
    __builtin_memcpy(&high, bits + 4, 4);
    return {_mm256_or_si256(w.a, spread_bits(low)), _mm256_or_si256(w.b, spread_bits(high))};
  }
  template <int field>
  static __m256i bits45(__m256i fields) {
    const __m256i moved = field == 0   ? _mm256_slli_epi16(fields, 4)
                          : field == 1 ? _mm256_slli_epi16(fields, 2)
                          : field == 2 ? fields
                                       : _mm256_srli_epi16(fields, 2);
    return _mm256_and_si256(moved, _mm256_set1_epi8(0x30));
  }
  template <int field>
  static void add_bits45(I& w, I fields) {
    w.a = _mm256_or_si256(w.a, bits45<field>(fields.a));
    w.b = _mm256_or_si256(w.b, bits45<field>(fields.b));
  }

  // Pairs of products are added in 16 bits. How many such sums fit: 15 * 127 * 2 * 4 = 15,240 and
  // 31 * 127 * 2 * 4 = 31,496 stay below 32,768, and so does 63 * 127 * 2 * 2 = 32,004.
  static constexpr int sums_in_16_bits(PackedForm form) {
    switch (form) {
      case PackedForm::int6:
        return 2;
      case PackedForm::int8:
        return 1;
      default:
        return 4;
    }
  }
  template <PackedForm form>
  static __m256i pair_products(__m256i w, __m256i a) {
    if constexpr (form == PackedForm::int8) {
      // Stored with 128 added, which would overflow 16 bits. |w| * (sign of w * a) does not:
      // 128 * 127 * 2 = 32,512.
      const __m256i weight = _mm256_xor_si256(w, _mm256_set1_epi8(static_cast<char>(0x80)));
      return _mm256_maddubs_epi16(_mm256_abs_epi8(weight), _mm256_sign_epi8(a, weight));
    } else {
      return _mm256_maddubs_epi16(w, a);
    }
  }
  template <PackedForm form, int first_group>
  static I dot(const I (&w)[8], const std::int8_t* a, std::int32_t sum) {
    const __m256i ones = _mm256_set1_epi16(1);
    // int8 is multiplied as it was before the offset was added.
    constexpr int offset = form == PackedForm::int8 ? 0 : stored_offset(form);
    __m256i total_a = _mm256_set1_epi32(-offset * sum);
    __m256i total_b = total_a;
    constexpr int together = sums_in_16_bits(form);
    for (int g = first_group; g < first_group + 4; g += together) {
      __m256i words_a = _mm256_setzero_si256();
      __m256i words_b = _mm256_setzero_si256();
      for (int k = g; k < g + together; ++k) {
        int four;
        __builtin_memcpy(&four, a + 4 * k, 4);
        const __m256i activation = _mm256_set1_epi32(four);
        words_a = _mm256_add_epi16(words_a, pair_products<form>(w[k].a, activation));
        words_b = _mm256_add_epi16(words_b, pair_products<form>(w[k].b, activation));
      }
      total_a = _mm256_add_epi32(total_a, _mm256_madd_epi16(words_a, ones));
      total_b = _mm256_add_epi32(total_b, _mm256_madd_epi16(words_b, ones));
    }
    return {total_a, total_b};
  }
  static I add_int(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
  static F to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
};

constexpr Kernels table = KernelsFor<Avx2>::table("avx2");

}  // namespace

const Kernels* kernels_avx2() { return &table; }

}  // namespace fathom

#else

namespace fathom {
const Kernels* kernels_avx2() { return nullptr; }
}  // namespace fathom

#endif
