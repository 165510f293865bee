#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/packed_form.h"

namespace fathom {

/// What the products need to know of 32 quantised activations.
struct ActivationBlock {
  float scale = 0;            ///< activation = scale * q
  float scaled_sum = 0;       ///< scale * (sum of the 32 q)
  std::int32_t sum_low = 0;   ///< sum of the first 16 q
  std::int32_t sum_high = 0;  ///< sum of the last 16 q
};

/// How finely activations are quantised against integer weights.
enum class ActivationQuantization {
  int8,           ///< activation = scale * q
  int8_residual,  ///< activation = scale * (q + r / residual_steps): about 16 bits
};
/// The residual of a rounded q is within half a step, which r cuts into this many.
inline constexpr float residual_steps = 254.0F;

/// Of quantised activations there is room for a multiple of so many rows; what is beyond the last
/// row may be read and means nothing.
inline constexpr std::size_t row_padding = 16;

/// Rows of activations as a product reads them. All pointers are borrowed.
struct ActivationView {
  const float* values = nullptr;            ///< [rows][stride], for the float forms
  const std::int8_t* quantized = nullptr;   ///< [rows][stride], for the integer forms
  const ActivationBlock* blocks = nullptr;  ///< [rows][stride / 32]
  /// The r, of which the blocks hold the sums only; nullptr if quantised without residual.
  const std::int8_t* residuals = nullptr;            ///< [rows][stride]
  const ActivationBlock* residual_blocks = nullptr;  ///< [rows][stride / 32]
  std::size_t stride = 0;                            ///< a multiple of 32, at least the columns
};

/// The most activation rows that any set's panel product takes at once.
inline constexpr std::size_t most_panel_product_rows = 256;

/// The kernels compiled for one instruction set. Each gives the same bits for a row whatever else
/// is computed beside it; they need not agree across instruction sets.
struct Kernels {
  std::string_view name;  ///< "amx", "avx512vnni", "avx2", "neon" or "portable"
  /// The most activation rows that its panel product takes, at most most_panel_product_rows.
  std::size_t panel_product_rows;

  /// out[row][lane] = sum over columns of weight[lane][column] * activation[row][column], for the
  /// 16 lanes of a panel and `rows` (1 to panel_product_rows) rows from `first_row`. `out` is
  /// [rows][out_stride]. One function a PackedForm.
  using PanelProduct = void (*)(const std::byte* panel, std::size_t columns,
                                const ActivationView& activations, std::size_t first_row,
                                std::size_t rows, float* out, std::size_t out_stride);
  std::array<PanelProduct, packed_form_count> panel_product;
  /// The same bits for a single row and `panels` panels, one after another from `panel`, of which
  /// several are read at once, which gets more out of the memory. `out` is [panels][16].
  using RowProduct = void (*)(const std::byte* panel, std::size_t columns, std::size_t panels,
                              const ActivationView& activations, std::size_t row, float* out);
  std::array<RowProduct, packed_form_count> row_product;

  /// The greatest of the 16 outputs of a panel; NaNs are passed over, and minus infinity is what
  /// there is without others.
  float (*panel_maximum)(const float* values);

  /// Quantises n values (a multiple of 32) in blocks of 32: scale = largest magnitude / 127.
  void (*quantize)(const float* values, std::size_t n, std::int8_t* quantized,
                   ActivationBlock* blocks);
  /// The same with residuals. `blocks`' scaled_sum includes them.
  void (*quantize_residual)(const float* values, std::size_t n, std::int8_t* quantized,
                            ActivationBlock* blocks, std::int8_t* residuals,
                            ActivationBlock* residual_blocks);
  /// out = x / sqrt(mean(x^2) + epsilon) * weight
  void (*rms_norm)(const float* x, const float* weight, std::size_t n, float epsilon, float* out);
  /// out = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias. `out` may be `x`, here and
  /// in rms_norm.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, std::size_t n,
                     float epsilon, float* out);
  /// Rotates pairs (x[i], x[i + half]) by angles whose cosines and sines are given [half].
  void (*rotate)(float* x, const float* cosines, const float* sines, std::size_t half);
  /// x = activation(x). One function an Activation.
  std::array<void (*)(float* x, std::size_t n), activation_count> activate;
  /// gate = activation(gate) * up
  std::array<void (*)(float* gate, const float* up, std::size_t n), activation_count> gated;
  /// x *= factor
  void (*scale)(float* x, float factor, std::size_t n);
  /// x += y
  void (*add)(float* x, const float* y, std::size_t n);
  /// What the fastest attention reads. float32 and half are always there, for fixed16 the members
  /// may be null.
  CacheElement fast_cache;
  /// Softmax attention over blocks of each CacheElement, from an empty state.
  using Attend = void (*)(const AttentionCall& call);
  std::array<Attend, cache_element_count> attend;
  /// Puts to a state what was made of the parts that follow.
  void (*add_attention)(float* state, std::size_t value_stride, const float* following);
  /// out[head_dim] = what a state of all parts comes to.
  void (*finish_attention)(const float* state, std::size_t head_dim, std::size_t value_stride,
                           float* out);
  /// Writes one position's key and value [head_dim] as fixed16, `lane` being its place in the
  /// block. What is not finite makes not-a-number of every query that sees the position.
  void (*store_fixed16)(const float* key, const float* value, std::size_t head_dim,
                        std::size_t value_stride, std::size_t lane, std::byte* head_keys,
                        std::byte* head_values);
  void (*to_half)(const float* x, std::size_t n, std::uint16_t* out);
  void (*from_half)(const std::uint16_t* x, std::size_t n, float* out);
};

/// The fastest kernels this processor runs, or those that the environment variable FATHOM_KERNELS
/// names. Throws InputError if it names none or one that this processor lacks.
const Kernels& kernels();
/// All that this processor runs, fastest first.
std::vector<const Kernels*> available_kernels();

// One a file; nullptr where they are not compiled for this architecture.
const Kernels* kernels_amx();
const Kernels* kernels_avx512vnni();
const Kernels* kernels_avx2();
const Kernels* kernels_neon();
const Kernels* kernels_portable();

}  // namespace fathom
