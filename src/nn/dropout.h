#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "base/strong_types.h"
#include "nn/dropout_rates.h"

namespace fathom {

/// Drops numbers of a pass and scales up the others [Srivastava et al. 2014]. What is dropped
/// depends on the seed, the pass and the place alone, so that a pass which is computed again drops
/// the same.
class Dropout {
 public:
  /// Where numbers are dropped.
  enum class Place : std::uint32_t { embedding, attention, attention_output, ffn_output };

  Dropout(const DropoutRates& rates, std::uint64_t seed, std::uint64_t pass)
      : rates_(rates), seed_(seed), pass_(pass) {}

  /// `part` tells calls apart that have the layer and the place in common.
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x, Place place, LayerIndex layer,
                                      std::uint32_t part) const;
  [[nodiscard]] const DropoutRates& rates() const { return rates_; }

 private:
  DropoutRates rates_;
  std::uint64_t seed_, pass_;
};

}  // namespace fathom
