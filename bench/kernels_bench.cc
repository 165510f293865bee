#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/arena.h"
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
    const Product one{.weights = &matrices[next], .out = out.data(), .out_stride = matrix_rows};
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
      ->Arg(4)                                                                     \
      ->Arg(64);                                                                   \
  BENCHMARK_CAPTURE(product, type##_residual, TensorType::type,                    \
                    ActivationQuantization::int8_residual)                         \
      ->Arg(1)                                                                     \
      ->Arg(64)

FATHOM_PRODUCT(Q4_1);
FATHOM_PRODUCT(Q8_0);
FATHOM_PRODUCT(Q5_0);
BENCHMARK_CAPTURE(product, F16, TensorType::F16, ActivationQuantization::int8)->Arg(1)->Arg(64);
BENCHMARK_CAPTURE(product, F32, TensorType::F32, ActivationQuantization::int8)->Arg(1)->Arg(64);

}  // namespace
}  // namespace fathom
