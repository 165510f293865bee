#include "kernels/kernels.h"

#if defined(__x86_64__)

#include "kernels/amx.h"
#include "kernels/attention_amx.h"
#include "kernels/avx512.h"
#include "kernels/kernels_impl.h"

// Products of rows by sixteens in the tiles of AMX-INT8, and attention likewise. Everything else is
// avx512vnni's. The sum over a block is an integer and everything after it is done by the same
// operations in the same order, so that a row's bits are the same as there.

namespace fathom {
namespace {

using Base = KernelsFor<Avx512>;

// From so many on, rows take a tile of their own; fewer are faster in vectors.
constexpr std::size_t fewest_tile_rows = 9;
// Blocks that are unpacked at a time. With the sums they stay in the first-level cache.
constexpr std::size_t chunk_blocks = 32;

// The tile registers. Two products are on their way at a time, each with sums of its own.
constexpr int activation_tile = 0;
constexpr int weight_tile = 1;
constexpr int residual_tile = 2;
constexpr int sum_tile = 4;       // and the next
constexpr int fine_sum_tile = 6;  // and the next

// Inputs that share a scale, and with that how many one tile product covers.
template <PackedForm form>
constexpr std::size_t scale_inputs = form == PackedForm::int6 ? 16 : 32;

template <PackedForm form>
TileShapes shapes_for() {
  TileShapes shapes;
  for (const int tile : {activation_tile, residual_tile})
    shapes.set(tile, tile_rows, scale_inputs<form>);
  for (const int tile : {sum_tile, sum_tile + 1, fine_sum_tile, fine_sum_tile + 1}) {
    shapes.set(tile, tile_rows, 64);
  }
  shapes.set(weight_tile, scale_inputs<form> / 4, 64);
  return shapes;
}

// Some blocks of a panel: weights as signed bytes, and where the panel's own part is.
struct Chunk {
  alignas(64) std::int8_t weights[chunk_blocks][block_inputs / 4][64];
  const std::uint8_t* panel;
  const std::uint8_t* next_panel;  // its weights of these blocks; nullptr if asked for already
  std::size_t first_block;
  std::size_t blocks;
};

template <PackedForm form>
void unpack_chunk(const std::uint8_t* panel, std::size_t first_block, std::size_t blocks,
                  Chunk& chunk) {
  chunk.panel = panel + first_block * panel_step_bytes(form);
  chunk.first_block = first_block;
  chunk.blocks = blocks;
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(stored_offset(form)));
  for (std::size_t b = 0; b < blocks; ++b) {
    __m512i w[8];
    Base::unpack<form>(chunk.panel + b * panel_step_bytes(form), w);
    for (int g = 0; g < 8; ++g) {
      if constexpr (stored_offset(form) != 0) w[g] = _mm512_sub_epi8(w[g], offset);
      _mm512_store_si512(chunk.weights[b][g], w[g]);
    }
  }
}

// Up to sixteen rows of activations from a chunk's first block on. Sixteen are read, for which
// there is room (row_padding); nothing is made of those beyond the count.
struct RowGroup {
  const std::int8_t* quantized;
  const std::int8_t* residuals;
  std::size_t stride;
  const ActivationBlock* blocks;
  std::size_t block_stride;
  std::size_t count;
};

using Dots = std::int32_t[tile_rows][16];

// Where sixteen rows' outputs lie: row r's 16 lanes at data + r * stride.
struct OutRows {
  float* data;
  std::size_t stride;
};

// A number that is known when compiling.
template <int value>
struct Which {
  constexpr operator int() const { return value; }
};

// The sums of products over one scale's inputs.
struct TileSums {
  alignas(64) Dots coarse;
  alignas(64) Dots fine;  // of the residuals
};

// Starts the product of a chunk's `unit`-th scale's inputs in the `which`-th pair of sum tiles.
template <PackedForm form, bool with_residual, int which>
void start_product(const Chunk& chunk, const RowGroup& rows, std::size_t unit) {
  const std::size_t input = unit * scale_inputs<form>;
  load_tile<weight_tile>(chunk.weights[input / block_inputs][input % block_inputs / 4], 64);
  load_tile<activation_tile>(rows.quantized + input, rows.stride);
  clear_tile<sum_tile + which>();
  add_product_ss<sum_tile + which, activation_tile, weight_tile>();
  if constexpr (with_residual) {
    load_tile<residual_tile>(rows.residuals + input, rows.stride);
    clear_tile<fine_sum_tile + which>();
    add_product_ss<fine_sum_tile + which, residual_tile, weight_tile>();
  }
}

template <bool with_residual, int which>
void store_product(TileSums& sums) {
  store_tile<sum_tile + which>(sums.coarse, 64);
  if constexpr (with_residual) store_tile<fine_sum_tile + which>(sums.fine, 64);
}

// out[r] += the products of a chunk with row r; out[r] = them for the first chunk. All loops over
// rows are unrolled, or the compiler would keep the sums in memory.
template <PackedForm form, bool with_residual>
void add_products(const Chunk& chunk, const RowGroup& rows, OutRows out) {
  constexpr std::size_t units_of_block = block_inputs / scale_inputs<form>;
  constexpr std::size_t unit_bytes = panel_step_bytes(form) / units_of_block;
  TileSums sums[2];
  __m512 sum[tile_rows];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < tile_rows; ++r) {
    const bool nothing_yet = chunk.first_block == 0 || r >= rows.count;
    sum[r] = nothing_yet ? _mm512_setzero_ps() : _mm512_loadu_ps(out.data + r * out.stride);
  }
  const auto add_unit = [&](std::size_t unit, const TileSums& dots) __attribute__((always_inline)) {
    const std::size_t b = unit / units_of_block;
    const std::uint8_t* const scales =
        chunk.panel + b * panel_step_bytes(form) + Base::quant_bytes(form);
    const __m512 scale = Avx512::load_half(Base::halves(scales + 32 * (unit % units_of_block)));
    const ActivationBlock* block = rows.blocks + b;
#pragma GCC unroll 16
    for (std::size_t r = 0; r < tile_rows; ++r, block += rows.block_stride) {
      __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512(dots.coarse[r]));
      if constexpr (with_residual) {
        const __m512 fine = _mm512_cvtepi32_ps(_mm512_load_si512(dots.fine[r]));
        dot = _mm512_fmadd_ps(fine, _mm512_set1_ps(1.0F / residual_steps), dot);
      }
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(block->scale));
      sum[r] = _mm512_fmadd_ps(both, dot, sum[r]);
    }
  };
  // A tile's sums reach memory some time after they are asked for, and whoever reads them earlier
  // blocks everything: so each step starts one product, stores the last one's sums and adds those
  // of the one before.
  const std::size_t units = chunk.blocks * units_of_block;
  const auto step = [&](auto which, std::size_t unit) __attribute__((always_inline)) {
    if (unit < units) {
      start_product<form, with_residual, which>(chunk, rows, unit);
      // While the tiles are busy, memory need not be idle.
      if (chunk.next_panel != nullptr) {
        Base::prefetch<unit_bytes>(chunk.next_panel + unit * unit_bytes);
      }
    }
    if (unit >= 2 && unit < units + 2) add_unit(unit - 2, sums[which]);
    if (unit >= 1 && unit <= units) store_product<with_residual, 1 - which>(sums[1 - which]);
  };
  for (std::size_t unit = 0; unit < units + 2; unit += 2) {
    step(Which<0>{}, unit);
    step(Which<1>{}, unit + 1);
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < tile_rows; ++r) {
    if (r < rows.count) _mm512_storeu_ps(out.data + r * out.stride, sum[r]);
  }
}

// out[r] += the sum over all blocks of a panel's minimums times the sums of row r's activations.
template <PackedForm form>
void add_minimums(const std::uint8_t* panel, std::size_t block_count, const ActivationBlock* blocks,
                  std::size_t block_stride, std::size_t count, OutRows out) {
  __m512 sum[tile_rows];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < tile_rows; ++r) sum[r] = _mm512_setzero_ps();
  for (std::size_t b = 0; b < block_count; ++b) {
    const std::uint8_t* const minimums =
        panel + b * panel_step_bytes(form) + Base::quant_bytes(form) + 32;
    const __m512 minimum = Avx512::load_half(Base::halves(minimums));
    const ActivationBlock* block = blocks + b;
#pragma GCC unroll 16
    for (std::size_t r = 0; r < tile_rows; ++r, block += block_stride) {
      sum[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(block->scaled_sum), sum[r]);
    }
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < tile_rows; ++r) {
    if (r >= count) continue;
    float* const row = out.data + r * out.stride;
    _mm512_storeu_ps(row, _mm512_add_ps(_mm512_loadu_ps(row), sum[r]));
  }
}

// Rows by sixteens; the last ones may be fewer.
template <PackedForm form>
void tiles_product(const std::uint8_t* panel, std::size_t columns,
                   const ActivationView& activations, std::size_t first_row, std::size_t row_count,
                   OutRows out) {
  const std::size_t block_count = columns / block_inputs;
  const std::size_t block_stride = activations.stride / block_inputs;
  const std::size_t groups = (row_count + tile_rows - 1) / tile_rows;
  const auto rows_of = [&](std::size_t group) {
    const std::size_t left = row_count - group * tile_rows;
    return left < tile_rows ? left : tile_rows;
  };
  const auto out_of = [&](std::size_t group) {
    return OutRows{out.data + group * tile_rows * out.stride, out.stride};
  };
  Chunk chunk;
  configure(shapes_for<form>());
  for (std::size_t first = 0; first < block_count; first += chunk_blocks) {
    const std::size_t left = block_count - first;
    unpack_chunk<form>(panel, first, left < chunk_blocks ? left : chunk_blocks, chunk);
    chunk.next_panel = chunk.panel + block_count * panel_step_bytes(form);
    for (std::size_t group = 0; group < groups; ++group) {
      if (group > 0) chunk.next_panel = nullptr;
      const std::size_t row = first_row + group * tile_rows;
      const std::size_t at = row * activations.stride + first * block_inputs;
      RowGroup rows{.quantized = activations.quantized + at,
                    .residuals = nullptr,
                    .stride = activations.stride,
                    .blocks = activations.blocks + row * block_stride + first,
                    .block_stride = block_stride,
                    .count = rows_of(group)};
      if (activations.residuals == nullptr) {
        add_products<form, false>(chunk, rows, out_of(group));
      } else {
        rows.residuals = activations.residuals + at;
        add_products<form, true>(chunk, rows, out_of(group));
      }
    }
  }
  release_tiles();
  if constexpr (Base::has_minimum(form)) {
    for (std::size_t group = 0; group < groups; ++group) {
      const ActivationBlock* const blocks =
          activations.blocks + (first_row + group * tile_rows) * block_stride;
      add_minimums<form>(panel, block_count, blocks, block_stride, rows_of(group), out_of(group));
    }
  }
}

template <PackedForm form>
void panel_product(const std::byte* panel, std::size_t columns, const ActivationView& activations,
                   std::size_t first_row, std::size_t rows, float* out, std::size_t out_stride) {
  const std::size_t rest = rows % tile_rows;
  const std::size_t in_tiles = rest >= fewest_tile_rows ? rows : rows - rest;
  if (in_tiles > 0) {
    tiles_product<form>(Base::bytes(panel), columns, activations, first_row, in_tiles,
                        {out, out_stride});
  }
  // avx512vnni's product takes up to 8 rows.
  for (std::size_t r = in_tiles; r < rows; r += 8) {
    Base::panel_product<form>(panel, columns, activations, first_row + r,
                              rows - r < 8 ? rows - r : 8, out + r * out_stride, out_stride);
  }
}

constexpr Kernels make_table() {
  Kernels table = Base::table("amx");
  FixedAttention<FixedTiles>::enter(table);
  table.panel_product_rows = most_panel_product_rows;
  const auto set = [&](PackedForm form, Kernels::PanelProduct product) {
    table.panel_product[static_cast<std::size_t>(form)] = product;
  };
  set(PackedForm::int4, panel_product<PackedForm::int4>);
  set(PackedForm::int4_min, panel_product<PackedForm::int4_min>);
  set(PackedForm::int5, panel_product<PackedForm::int5>);
  set(PackedForm::int5_min, panel_product<PackedForm::int5_min>);
  set(PackedForm::int6, panel_product<PackedForm::int6>);
  set(PackedForm::int8, panel_product<PackedForm::int8>);
  return table;
}

constexpr Kernels table = make_table();

}  // namespace

const Kernels* kernels_amx() { return &table; }

}  // namespace fathom

#else

namespace fathom {
const Kernels* kernels_amx() { return nullptr; }
}  // namespace fathom

#endif
