#pragma once

namespace fathom {

/// What the response's predictions are held to.
enum class TrainingTarget {
  labels,      ///< cross-entropy on the response's tokens
  full_model,  ///< KL from the predictions of the model at full depth before training
};

}  // namespace fathom
