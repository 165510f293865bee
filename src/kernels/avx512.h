// The vector type of processors with AVX-512 (F, BW, DQ, VL and VNNI). Included by
// kernels_<instruction set>.cc files that are compiled for it only, hence the internal linkage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "kernels/packed_form.h"

namespace fathom {
namespace {

inline __mmask16 first_lanes(std::size_t n) { return static_cast<__mmask16>((1U << n) - 1); }

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  static constexpr int accumulators = 24;  // F that fit into registers with room for others
  static constexpr int row_panels = 4;     // that a single row is multiplied with at once

  static F zero() { return _mm512_setzero_ps(); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load_part(const float* p, std::size_t n) {
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
  }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store_part(float* p, F x, std::size_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), x);
  }
  static F load_half(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F load_half_part(const std::uint16_t* p, std::size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
  }
  static F load_bfloat16(const std::uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static void store_half(std::uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static void store_half_part(std::uint16_t* p, F x, std::size_t n) {
    _mm256_mask_storeu_epi16(p, first_lanes(n), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
  static F scale_by_power_of_two(F a, F n) { return _mm512_scalef_ps(a, n); }
  static float first(F a) { return _mm512_cvtss_f32(a); }
  static float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  static float reduce_add(F a) { return _mm512_reduce_add_ps(a); }
  static float reduce_max(F a) { return _mm512_reduce_max_ps(a); }

  // Rounds 16 values to int8 and gives their sum.
  static std::int32_t round_to_int8(F x, std::int8_t* out) {
    const I q = _mm512_cvtps_epi32(x);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtsepi32_epi8(q));
    return _mm512_reduce_add_epi32(q);
  }

  static F load_int8(const std::int8_t* p) {
    const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
  }

  static I load_bytes(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
  static void split_nibbles(I packed, I& low, I& high) {
    const I mask = _mm512_set1_epi8(15);
    low = _mm512_and_si512(packed, mask);
    high = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
  }
  static I add_bit4(I w, const std::uint8_t* bits) {
    const __mmask64 mask = *reinterpret_cast<const std::uint64_t*>(bits);  // panels are aligned
    return _mm512_mask_add_epi8(w, mask, w, _mm512_set1_epi8(16));
  }
  template <int field>
  static void add_bits45(I& w, I fields) {
    const I mask = _mm512_set1_epi8(0x30);
    const I moved = field == 0   ? _mm512_slli_epi16(fields, 4)
                    : field == 1 ? _mm512_slli_epi16(fields, 2)
                    : field == 2 ? fields
                                 : _mm512_srli_epi16(fields, 2);
    w = _mm512_or_si512(w, _mm512_and_si512(moved, mask));
  }
  template <PackedForm form, int first_group>
  static I dot(const I (&w)[8], const std::int8_t* a, std::int32_t sum) {
    I total = _mm512_setzero_si512();
    if constexpr (stored_offset(form) != 0) total = _mm512_set1_epi32(-stored_offset(form) * sum);
    for (int g = first_group; g < first_group + 4; ++g) {
      int four;
      __builtin_memcpy(&four, a + 4 * g, 4);
      total = _mm512_dpbusd_epi32(total, w[g], _mm512_set1_epi32(four));
    }
    return total;
  }
  static I add_int(I a, I b) { return _mm512_add_epi32(a, b); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }
};

}  // namespace
}  // namespace fathom
