#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/arena.h"
#include "base/available_cpus.h"
#include "base/thread_team.h"
#include "kernels/kernels.h"
#include "kernels/packed_matrix.h"
#include "kernels/products.h"

namespace fathom {
namespace {

// A matrix of the default model's feed-forward, many times over, so that it comes from memory as it
// does in a decoding step.
constexpr std::size_t matrix_rows = 1536;
constexpr std::size_t matrix_columns = 576;
constexpr std::size_t copies = 128;

void product(benchmark::State& state, TensorType type, ActivationQuantization quantization) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  Arena arena;
  ThreadTeam team(1);
  TensorView tensor{.name = "w", .type = type, .shape = {matrix_rows, matrix_columns}, .bytes = {}};
  const std::vector<std::byte> stored(tensor_bytes(type, tensor.shape));
  tensor.bytes = stored;
  std::vector<PackedMatrix> matrices;
  for (std::size_t i = 0; i < copies; ++i) {
    matrices.emplace_back(tensor, native_form(type), std::span<const std::uint32_t>{}, arena, team);
  }
  Activations activations;
  activations.resize(rows, matrix_columns, quantization);
  for (std::size_t r = 0; r < rows; ++r) {
    std::fill_n(activations.row(r), matrix_columns, 1.0F);
    activations.quantize_row(kernels(), r);
  }
  std::vector<float> out(rows * matrix_rows);
  std::size_t next = 0;
  for (auto _ : state) {
    const Product one{
        .map = {.weights = &matrices[next]}, .out = out.data(), .out_stride = matrix_rows};
    multiply(team, kernels(), activations, std::span(&one, 1));
    benchmark::DoNotOptimize(out.data());
    next = (next + 1) % copies;
  }
  const auto bytes = static_cast<double>(matrices[0].bytes());
  const auto per_second = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["bytes/s"] = benchmark::Counter(bytes, per_second);
  state.counters["multiply-adds/s"] =
      benchmark::Counter(static_cast<double>(rows * matrix_rows * matrix_columns), per_second);
}

#define FATHOM_PRODUCT(type)                                                       \
  BENCHMARK_CAPTURE(product, type, TensorType::type, ActivationQuantization::int8) \
      ->Arg(1)                                                                     \
      ->Arg(2)                                                                     \
      ->Arg(4)                                                                     \
      ->Arg(8)                                                                     \
      ->Arg(16)                                                                    \
      ->Arg(512);                                                                  \
  BENCHMARK_CAPTURE(product, type##_residual, TensorType::type,                    \
                    ActivationQuantization::int8_residual)                         \
      ->Arg(1)                                                                     \
      ->Arg(16)                                                                    \
      ->Arg(512)

FATHOM_PRODUCT(Q4_1);
FATHOM_PRODUCT(Q8_0);
FATHOM_PRODUCT(Q5_0);

// One row against weights that no cache holds, with all threads: panels one by one, or as many at
// once as the kernels like.
void one_row(benchmark::State& state, TensorType type) {
  constexpr std::size_t rows = 32768;
  constexpr std::size_t columns = 2048;
  constexpr std::size_t matrices = 16;
  const bool one_by_one = state.range(0) == 1;
  Arena arena;
  ThreadTeam team(available_cpus());
  TensorView tensor{.name = "w", .type = type, .shape = {rows, columns}, .bytes = {}};
  const std::vector<std::byte> stored(tensor_bytes(type, tensor.shape));
  tensor.bytes = stored;
  std::vector<PackedMatrix> weights;
  for (std::size_t i = 0; i < matrices; ++i) {
    weights.emplace_back(tensor, native_form(type), std::span<const std::uint32_t>{}, arena, team);
  }
  Activations activations;
  activations.resize(1, columns, ActivationQuantization::int8);
  std::fill_n(activations.row(0), columns, 1.0F);
  activations.quantize_row(kernels(), 0);
  const ActivationView view = activations.view();
  const auto form = static_cast<std::size_t>(native_form(type));
  std::vector<float> out(rows);
  for (auto _ : state) {
    for (const PackedMatrix& matrix : weights) {
      team.run_shares(matrix.panels(), 1, [&](std::size_t begin, std::size_t end) {
        float* const at = out.data() + begin * panel_rows;
        if (!one_by_one) {
          kernels().row_product[form](matrix.panel(begin), columns, end - begin, view, 0, at);
          return;
        }
        for (std::size_t p = begin; p < end; ++p) {
          kernels().panel_product[form](matrix.panel(p), columns, view, 0, 1,
                                        out.data() + p * panel_rows, panel_rows);
        }
      });
    }
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["bytes/s"] = benchmark::Counter(static_cast<double>(matrices * weights[0].bytes()),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}
#define FATHOM_ONE_ROW(type)                         \
  BENCHMARK_CAPTURE(one_row, type, TensorType::type) \
      ->ArgName("one_by_one")                        \
      ->Arg(1)                                       \
      ->Arg(0)                                       \
      ->UseRealTime()                                \
      ->Unit(benchmark::kMillisecond)
FATHOM_ONE_ROW(Q8_0);
FATHOM_ONE_ROW(Q4_1);

// One key/value head of the default model at a context of 1,024, of as many layers as do not fit
// into the second-level cache.
void attention(benchmark::State& state) {
  constexpr std::size_t head_dim = 64;
  constexpr std::size_t positions = 1024;
  constexpr std::size_t layers = 64;
  const CacheElement element = kernels().fast_cache;
  const std::size_t key_bytes = head_key_bytes(element, head_dim);
  const std::size_t block_bytes = key_bytes + head_value_bytes(element, head_dim);
  const auto count = static_cast<std::size_t>(state.range(0));
  AlignedBuffer<std::byte> cache(layers * positions / cache_block_positions * block_bytes);
  std::fill_n(cache.data(), cache.size(), std::byte{0});
  std::vector<const std::byte*> blocks;
  for (std::size_t at = 0; at < cache.size(); at += block_bytes) {
    blocks.push_back(cache.data() + at);
  }
  const std::vector<float> values(attention_queries * head_dim, 0.5F);
  constexpr std::size_t state_floats = attention_state_floats(head_dim);
  AlignedBuffer<float> states(attention_queries * state_floats);
  std::vector<AttentionQuery> queries;
  for (std::size_t q = 0; q < count; ++q) {
    queries.push_back({.values = &values[q * head_dim],
                       .first = 0,
                       .end = positions,
                       .state = states.data() + q * state_floats});
  }
  AlignedBuffer<float> scratch(attention_scratch_floats(head_dim, head_dim));
  std::size_t layer = 0;
  for (auto _ : state) {
    kernels().attend[static_cast<std::size_t>(element)](
        {.queries = queries.data(),
         .count = count,
         .first_part = 0,
         .end_part = positions / attention_part_positions,
         .head_dim = head_dim,
         .value_stride = head_dim,
         .blocks = &blocks[layer * positions / cache_block_positions],
         .key_offset = 0,
         .value_offset = key_bytes,
         .scale = 0.125F,
         .scratch = scratch.data()});
    benchmark::DoNotOptimize(states.data());
    layer = (layer + 1) % layers;
  }
  const auto per_second = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["bytes/s"] = benchmark::Counter(
      static_cast<double>(positions / cache_block_positions * block_bytes), per_second);
  state.counters["multiply-adds/s"] =
      benchmark::Counter(static_cast<double>(count * positions * 2 * head_dim), per_second);
}
BENCHMARK(attention)->Arg(1)->Arg(2)->Arg(3)->Arg(4)->Arg(6)->Arg(9)->Arg(16)->Arg(48);

BENCHMARK_CAPTURE(product, F16, TensorType::F16, ActivationQuantization::int8)->Arg(1)->Arg(512);
BENCHMARK_CAPTURE(product, F32, TensorType::F32, ActivationQuantization::int8)->Arg(1)->Arg(512);

}  // namespace
}  // namespace fathom
