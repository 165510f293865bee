#pragma once

#include <cstdint>

namespace fathom {

/// A learning rate that rises linearly from 0 over the warm-up, then falls linearly to 0.
struct LinearSchedule {
  double peak = 5e-5;
  std::uint64_t warmup = 0;  ///< steps
  std::uint64_t steps = 0;   ///< of the whole training

  /// Of a step, from 0. The first step of a warm-up changes nothing, as in transformers.
  [[nodiscard]] double rate(std::uint64_t step) const;
};

}  // namespace fathom
