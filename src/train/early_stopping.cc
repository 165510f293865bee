#include "train/early_stopping.h"

#include <cmath>

namespace fathom {

bool EarlyStopping::add(std::uint64_t step, double loss) {
  const bool better =
      !best_step_ || loss < best_loss_ || (std::isnan(best_loss_) && !std::isnan(loss));
  if (!better) {
    ++worse_;
    return false;
  }
  best_step_ = step;
  best_loss_ = loss;
  worse_ = 0;
  return true;
}

}  // namespace fathom
