#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <span>

#include "base/strong_types.h"
#include "nn/dropout_rates.h"

namespace fathom {

/// Drops numbers of a pass and scales up the others [Srivastava et al. 2014]. What is dropped
/// depends on the seed, the step, the row and the place alone: neither on the rows' company, so
/// that ranks may share them, nor on how often the pass is computed.
class Dropout {
 public:
  /// Where numbers are dropped.
  enum class Place : std::uint32_t { embedding, attention, attention_output, ffn_output };
  /// Of a tensor's first dimension the next `count` numbers, which belong to a row of the data.
  struct Part {
    std::uint64_t row;
    std::int64_t count;
  };

  Dropout(const DropoutRates& rates, std::uint64_t seed, std::uint64_t step)
      : rates_(rates), seed_(seed), step_(step) {}

  /// The parts make up the tensor's first dimension.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x, Place place, LayerIndex layer,
                                      std::span<const Part> parts) const;
  [[nodiscard]] const DropoutRates& rates() const { return rates_; }

 private:
  DropoutRates rates_;
  std::uint64_t seed_, step_;
};

/// Dropout for tensors that hold these parts. Both must live as long as this.
struct PartedDropout {
  const Dropout& dropout;
  std::span<const Dropout::Part> parts;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x, Dropout::Place place,
                                      LayerIndex layer) const {
    return dropout(x, place, layer, parts);
  }
};

}  // namespace fathom
