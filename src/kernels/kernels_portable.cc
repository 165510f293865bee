#include <cmath>
#include <cstring>

#include "formats/dequantize.h"
#include "kernels/kernels.h"
#include "kernels/kernels_impl.h"

namespace fathom {
namespace {

struct Floats {
  float v[16];
};
struct Integers {
  union {
    std::uint8_t u8[64];
    std::int32_t i32[16];
  };
};

struct Portable {
  using F = Floats;
  using I = Integers;
  static constexpr int accumulators = 3;  // F that fit into registers with room for others
  static constexpr int row_panels = 1;    // that a single row is multiplied with at once

  template <class Operation>
  static F map(Operation operation) {
    F result;
    for (std::size_t i = 0; i < 16; ++i) result.v[i] = operation(i);
    return result;
  }

  static F zero() { return set(0); }
  static F set(float x) {
    return map([=](std::size_t) { return x; });
  }
  static F load(const float* p) {
    return map([=](std::size_t i) { return p[i]; });
  }
  static F load_part(const float* p, std::size_t n) {
    return map([=](std::size_t i) { return i < n ? p[i] : 0.0F; });
  }
  static void store(float* p, const F& x) { std::memcpy(p, x.v, sizeof(x.v)); }
  static void store_part(float* p, const F& x, std::size_t n) {
    std::memcpy(p, x.v, n * sizeof(float));
  }
  static F load_half(const std::uint16_t* p) {
    return map([=](std::size_t i) { return float_from_half(p[i]); });
  }
  static F load_half_part(const std::uint16_t* p, std::size_t n) {
    return map([=](std::size_t i) { return i < n ? float_from_half(p[i]) : 0.0F; });
  }
  static F load_bfloat16(const std::uint16_t* p) {
    return map([=](std::size_t i) { return float_from_bfloat16(p[i]); });
  }
  static void store_half(std::uint16_t* p, const F& x) { store_half_part(p, x, 16); }
  static void store_half_part(std::uint16_t* p, const F& x, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) p[i] = half_from_float(x.v[i]);
  }
  static F add(const F& a, const F& b) {
    return map([&](std::size_t i) { return a.v[i] + b.v[i]; });
  }
  static F sub(const F& a, const F& b) {
    return map([&](std::size_t i) { return a.v[i] - b.v[i]; });
  }
  static F mul(const F& a, const F& b) {
    return map([&](std::size_t i) { return a.v[i] * b.v[i]; });
  }
  static F div(const F& a, const F& b) {
    return map([&](std::size_t i) { return a.v[i] / b.v[i]; });
  }
  // Not std::fma: without the instruction that is a slow library call.
  static F fma(const F& a, const F& b, const F& c) {
    return map([&](std::size_t i) { return a.v[i] * b.v[i] + c.v[i]; });
  }
  static F max(const F& a, const F& b) {
    return map([&](std::size_t i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static F min(const F& a, const F& b) {
    return map([&](std::size_t i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static F abs(const F& a) {
    return map([&](std::size_t i) { return a.v[i] < 0 ? -a.v[i] : a.v[i]; });
  }
  static F round(const F& a) {
    return map([&](std::size_t i) { return nearbyintf(a.v[i]); });
  }
  static F scale_by_power_of_two(const F& a, const F& n) {
    return map([&](std::size_t i) { return ldexpf(a.v[i], static_cast<int>(n.v[i])); });
  }
  static float first(const F& a) { return a.v[0]; }
  static float square_root(float x) { return sqrtf(x); }
  static float reduce_add(const F& a) {
    F s = a;
    for (std::size_t width = 8; width > 0; width /= 2) {
      for (std::size_t i = 0; i < width; ++i) s.v[i] += s.v[i + width];
    }
    return s.v[0];
  }
  static float reduce_max(const F& a) {
    float largest = a.v[0];
    for (const float x : a.v) largest = x > largest ? x : largest;
    return largest;
  }
  static std::int32_t round_to_int8(const F& x, std::int8_t* out) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      // A NaN or infinity in a row spoils its scale, so what stands here does not matter; but the
      // conversion must be defined.
      const float rounded = nearbyintf(x.v[i]);
      const int q = rounded >= -127 && rounded <= 127 ? static_cast<int>(rounded) : 0;
      out[i] = static_cast<std::int8_t>(q);
      sum += q;
    }
    return sum;
  }

  static F load_int8(const std::int8_t* p) {
    return map([=](std::size_t i) { return static_cast<float>(p[i]); });
  }

  static I load_bytes(const std::uint8_t* p) {
    I x;
    std::memcpy(x.u8, p, 64);
    return x;
  }
  static void split_nibbles(const I& packed, I& low, I& high) {
    for (std::size_t i = 0; i < 64; ++i) {
      low.u8[i] = packed.u8[i] & 15;
      high.u8[i] = packed.u8[i] >> 4;
    }
  }
  static I add_bit4(const I& w, const std::uint8_t* bits) {
    I x = w;
    for (std::size_t i = 0; i < 64; ++i) {
      x.u8[i] |= static_cast<std::uint8_t>(((bits[i / 8] >> (i % 8)) & 1) << 4);
    }
    return x;
  }
  template <int field>
  static void add_bits45(I& w, const I& fields) {
    for (std::size_t i = 0; i < 64; ++i) {
      w.u8[i] |= static_cast<std::uint8_t>(((fields.u8[i] >> (2 * field)) & 3) << 4);
    }
  }
  template <PackedForm form, int first_group>
  static I dot(const I (&w)[8], const std::int8_t* a, std::int32_t sum) {
    I total;
    for (std::int32_t& t : total.i32) t = -stored_offset(form) * sum;
    for (std::size_t g = first_group; g < std::size_t{first_group} + 4; ++g) {
      for (std::size_t lane = 0; lane < 16; ++lane) {
        for (std::size_t k = 0; k < 4; ++k) {
          total.i32[lane] += static_cast<std::int32_t>(w[g].u8[4 * lane + k]) * a[4 * g + k];
        }
      }
    }
    return total;
  }
  static I add_int(const I& a, const I& b) {
    I x;
    for (std::size_t i = 0; i < 16; ++i) x.i32[i] = a.i32[i] + b.i32[i];
    return x;
  }
  static F to_float(const I& a) {
    return map([&](std::size_t i) { return static_cast<float>(a.i32[i]); });
  }
};

constexpr Kernels table = KernelsFor<Portable>::table("portable");

}  // namespace

const Kernels* kernels_portable() { return &table; }

}  // namespace fathom
