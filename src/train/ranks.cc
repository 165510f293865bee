#include "train/ranks.h"

#include <cstdlib>

namespace fathom {

bool Ranks::any(bool here) { return sum(here ? 1.0 : 0.0) > 0; }

double Ranks::sum(double value) {
  sum(std::span(&value, 1));
  return value;
}

void OneRank::abort(int exit_code) { std::exit(exit_code); }

}  // namespace fathom
