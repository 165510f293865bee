#include "train/schedule.h"

namespace fathom {

double LinearSchedule::rate(std::uint64_t step) const {
  if (step < warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
  if (step >= steps) return 0;
  return peak * static_cast<double>(steps - step) / static_cast<double>(steps - warmup);
}

}  // namespace fathom
