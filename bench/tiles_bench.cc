// What the parts of a product in tiles take, with everything in the first-level cache: the limit
// that docs/performance.md speaks of. Needs AMX.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <immintrin.h>

#include <benchmark/benchmark.h>

#include "kernels/amx.h"
#include "kernels/kernels.h"

namespace fathom {
namespace {

constexpr std::size_t blocks = 16;
constexpr std::size_t inputs = 32;
constexpr std::size_t row_bytes = 576;  // of the default model's activations

struct Data {
  alignas(64) std::int8_t activations[tile_rows][row_bytes];
  alignas(64) std::int8_t weights[blocks][inputs / 4][64];
  alignas(64) std::uint16_t weight_scales[blocks][16];
  alignas(64) float row_scales[blocks][tile_rows];
  alignas(64) std::int32_t sums[2][tile_rows][16];
  alignas(64) float out[tile_rows][16];
};

enum class Part { all, tiles, vectors };

// One item is a product of 16 rows x 16 lanes x 32 inputs.
template <Part part>
void tile_product(benchmark::State& state) {
  static Data data;
  TileShapes shapes;
  shapes.set(0, tile_rows, inputs);
  shapes.set(1, inputs / 4, 64);
  shapes.set(2, tile_rows, 64);
  configure(shapes);
  __m512 sum[tile_rows];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < tile_rows; ++r) sum[r] = _mm512_setzero_ps();
  for (auto _ : state) {
    for (std::size_t b = 0; b < blocks; ++b) {
      if constexpr (part != Part::vectors) {
        load_tile<0>(&data.activations[0][b * inputs], row_bytes);
        load_tile<1>(data.weights[b], 64);
        clear_tile<2>();
        add_product_ss<2, 0, 1>();
      }
      if constexpr (part != Part::tiles) {
        // Those of the product before: they have reached memory by now.
        const auto& before = data.sums[(b + 1) % 2];
        const __m512 scale = _mm512_cvtph_ps(
            _mm256_load_si256(reinterpret_cast<const __m256i*>(data.weight_scales[b])));
#pragma GCC unroll 16
        for (std::size_t r = 0; r < tile_rows; ++r) {
          const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(data.row_scales[b][r]));
          sum[r] = _mm512_fmadd_ps(both, _mm512_cvtepi32_ps(_mm512_load_si512(before[r])), sum[r]);
        }
      }
      if constexpr (part != Part::vectors) store_tile<2>(data.sums[b % 2], 64);
    }
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < tile_rows; ++r) _mm512_store_ps(data.out[r], sum[r]);
  benchmark::DoNotOptimize(data.out);
  release_tiles();
  const auto products = static_cast<double>(state.iterations() * blocks);
  state.counters["time a product"] =
      benchmark::Counter(products, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["multiply-adds/s"] =
      benchmark::Counter(products * tile_rows * 16 * inputs, benchmark::Counter::kIsRate);
}
BENCHMARK(tile_product<Part::all>);
BENCHMARK(tile_product<Part::tiles>);
BENCHMARK(tile_product<Part::vectors>);

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  if (fathom::available_kernels().front()->name != "amx") {
    std::fputs("tiles_bench: this processor has no AMX\n", stderr);
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
