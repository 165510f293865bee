#pragma once

#include <cstddef>

namespace fathom {

/// The function between a feed-forward's products.
enum class Activation {
  silu,       ///< x * sigmoid(x)
  relu,       ///< max(x, 0)
  gelu,       ///< x * Phi(x), of the normal distribution [Hendrycks and Gimpel 2016]
  gelu_tanh,  ///< the same with tanh in place of the error function, as GPT-2 and Gemma have it
};
inline constexpr std::size_t activation_count = 4;

}  // namespace fathom
