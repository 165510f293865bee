#pragma once

namespace fathom {

/// What a pass keeps for its gradients.
enum class ActivationStorage {
  kept,        ///< all of what they need
  recomputed,  ///< the states between layers; each layer's pass is taken again for its gradients
};

}  // namespace fathom
