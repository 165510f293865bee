// The tiles of AMX-INT8. Included by kernels_amx.cc and what that includes only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fathom {
namespace {

// Rows in a tile of activations, and lanes in a tile of weights.
inline constexpr std::size_t tile_rows = 16;

// What ldtilecfg reads.
struct TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {};
  std::uint8_t rows[16] = {};

  void set(int tile, std::size_t height, std::size_t row_bytes) {
    rows[tile] = static_cast<std::uint8_t>(height);
    bytes_per_row[tile] = static_cast<std::uint16_t>(row_bytes);
  }
};
static_assert(sizeof(TileShapes) == 64);

// The compiler does not know what these read and write; "memory" tells it to have done, and not yet
// to do, what stands around them.
inline void configure(const TileShapes& shapes) {
  asm volatile("ldtilecfg %0" ::"m"(shapes) : "memory");
}
inline void release_tiles() { asm volatile("tilerelease" ::: "memory"); }
template <int tile>
inline void load_tile(const void* from, std::size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(tile) : "memory");
}
template <int tile>
inline void store_tile(void* to, std::size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(tile) : "memory");
}
template <int tile>
inline void clear_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}
// sums += a * b, of signed (s) or unsigned (u) bytes.
template <int sums, int a, int b>
inline void add_product_ss() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(a), "i"(b));
}
template <int sums, int a, int b>
inline void add_product_su() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(a), "i"(b));
}
template <int sums, int a, int b>
inline void add_product_us() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(a), "i"(b));
}

}  // namespace
}  // namespace fathom
