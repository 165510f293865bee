#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace fathom {

/// For tests: n normally distributed values, always the same for a seed.
inline std::vector<float> random_values(std::size_t n, unsigned seed, float deviation = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

}  // namespace fathom
