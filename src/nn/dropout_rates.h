#pragma once

#include "model/model_files.h"

namespace fathom {

/// With which probability a model in training drops what: each from 0 to below 1.
struct DropoutRates {
  double embedding = 0;  ///< what enters the first layer
  double attention = 0;  ///< attention's weights
  double residual = 0;   ///< what a block adds

  [[nodiscard]] bool any() const { return embedding > 0 || attention > 0 || residual > 0; }
};

/// What a model's config.json says, in the words of its family, else what transformers takes for
/// the family; also for GGUF files, which do not say. Throws FileError if a rate is out of range.
DropoutRates dropout_rates(const ModelFiles& files);

}  // namespace fathom
