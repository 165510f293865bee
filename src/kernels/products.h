#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"
#include "base/thread_team.h"
#include "kernels/kernels.h"
#include "kernels/packed_matrix.h"

namespace fathom {

/// Rows of activations that go into products: written as float32 by the caller, quantised here for
/// the matrices in integer forms.
class Activations {
 public:
  /// Room for [rows][columns], quantised as given. What was there is lost.
  void resize(std::size_t rows, std::size_t columns, ActivationQuantization quantization);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t columns() const { return columns_; }
  [[nodiscard]] float* row(std::size_t index) { return values_.data() + index * stride_; }
  [[nodiscard]] const float* row(std::size_t index) const {
    return values_.data() + index * stride_;
  }
  /// Quantises one row, in blocks of 32 along it. Rows may be quantised from different threads.
  /// The columns must be a multiple of 32.
  void quantize_row(const Kernels& kernels, std::size_t index);
  [[nodiscard]] ActivationView view() const;

 private:
  std::size_t rows_ = 0;
  std::size_t columns_ = 0;
  std::size_t stride_ = 0;
  ActivationQuantization quantization_ = ActivationQuantization::int8;
  AlignedBuffer<float> values_;
  AlignedBuffer<std::int8_t> quantized_, residuals_;
  AlignedBuffer<ActivationBlock> blocks_, residual_blocks_;
};

/// What an adapter adds to a map's outputs, for some rows: B c, where the coefficients c are a
/// product of the same activations.
struct LowRankAddend {
  const PackedMatrix* weights = nullptr;    ///< B, [outputs of the map][rank], in a float form
  ActivationView coefficients = {};         ///< float32, of as many rows as the activations
  std::span<const std::uint8_t> acts = {};  ///< for each row whether it gets this: 0 if not
};

/// What is multiplied with activations, and what is added to that.
struct LinearMap {
  const PackedMatrix* weights = nullptr;
  std::span<const float> bias = {};       ///< [weights->rows()], or empty
  const LowRankAddend* addend = nullptr;  ///< nullptr if no row has an adapter
};

/// One product of a group that shares its activations.
struct Product {
  LinearMap map;
  float* out = nullptr;  ///< [activation rows][out_stride]
  std::size_t out_stride = 0;
  /// If not nullptr, gets the greatest of each 16 outputs of a row, [activation rows][panels], NaNs
  /// passed over.
  float* maxima = nullptr;
};

/// out = activations * weights^T + bias + addend, for each product. A row without addend has the
/// bits that it would have if no row had one. The activations must have been
/// quantised if a matrix is in an integer form.
void multiply(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
              std::span<const Product> products);

/// out = activation(activations * map.weights^T + ...): the first half of a plain feed-forward.
void multiply_activated(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
                        const LinearMap& map, Activation activation, Activations& out);

/// out = activation(activations * gate^T + ...) * (activations * up^T + ...): a gated
/// feed-forward's first half. Both matrices have the same shape.
void multiply_gated(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
                    const LinearMap& gate, const LinearMap& up, Activation activation,
                    Activations& out);

}  // namespace fathom
