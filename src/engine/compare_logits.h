// For tests: what they hold two runs' logits to.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {

/// Logits of each position.
using SequenceLogits = std::vector<std::vector<float>>;

/// Bitwise: EXPECT_EQ on floats would take 0 for -0 and never accept a NaN.
inline void expect_same_bits(const SequenceLogits& a, const SequenceLogits& b,
                             const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t t = 0; t < a.size(); ++t) {
    ASSERT_EQ(0, std::memcmp(a[t].data(), b[t].data(), a[t].size() * sizeof(float)))
        << what << ", position " << t;
  }
}

/// The correlation of two rows of logits.
inline double correlation(std::span<const float> a, std::span<const float> b) {
  double sum_a = 0;
  double sum_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum_a += a[i];
    sum_b += b[i];
  }
  const double mean_a = sum_a / static_cast<double>(a.size());
  const double mean_b = sum_b / static_cast<double>(b.size());
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace fathom
