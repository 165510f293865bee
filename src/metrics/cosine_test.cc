#include "metrics/cosine.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace fathom {
namespace {

std::vector<float> random_vector(std::size_t size, std::uint64_t seed) {
  RandomStream stream({.seed = seed});
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(stream.uniform() - 0.5);
  return values;
}

// The definition, in long double and from the other end.
double definition(const std::vector<float>& a, const std::vector<float>& b) {
  long double ab = 0;
  long double aa = 0;
  long double bb = 0;
  for (std::size_t i = a.size(); i-- > 0;) {
    ab += static_cast<long double>(a[i]) * b[i];
    aa += static_cast<long double>(a[i]) * a[i];
    bb += static_cast<long double>(b[i]) * b[i];
  }
  return static_cast<double>(ab / (std::sqrt(aa) * std::sqrt(bb)));
}

TEST(Cosine, EqualsItsDefinitionAtEveryLength) {
  for (std::size_t size = 1; size <= 40; ++size) {
    const std::vector<float> a = random_vector(size, size);
    const std::vector<float> b = random_vector(size, size + 100);
    EXPECT_NEAR(cosine_similarity(a, b), definition(a, b), 1e-14) << size;
  }
  const std::vector<float> a = random_vector(100003, 1);
  const std::vector<float> b = random_vector(100003, 2);
  EXPECT_NEAR(cosine_similarity(a, b), definition(a, b), 1e-14);
}

TEST(Cosine, KnownAngles) {
  EXPECT_EQ(cosine_similarity(std::vector<float>{1, 0}, std::vector<float>{0, 5}), 0);
  EXPECT_DOUBLE_EQ(cosine_similarity(std::vector<float>{1, 0}, std::vector<float>{3, 4}), 0.6);
  EXPECT_DOUBLE_EQ(cosine_similarity(std::vector<float>{2, 2}, std::vector<float>{0, -3}),
                   -std::sqrt(0.5));
}

TEST(Cosine, OfAVectorAndItselfIsExactlyOne) {
  for (std::size_t size = 1; size <= 300; ++size) {
    std::vector<float> a = random_vector(size, size);
    EXPECT_EQ(cosine_similarity(a, a), 1.0) << size;
    std::vector<float> opposite = a;
    for (float& value : opposite) value = -value;
    EXPECT_EQ(cosine_similarity(a, opposite), -1.0) << size;
  }
}

TEST(Cosine, StaysInItsRange) {
  // Nearly parallel: rounding alone would put some of these outside.
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const std::vector<float> a = random_vector(17, seed);
    std::vector<float> b = a;
    for (float& value : b) value *= 3;
    EXPECT_LE(cosine_similarity(a, b), 1.0);
    for (float& value : b) value = -value;
    EXPECT_GE(cosine_similarity(a, b), -1.0);
  }
}

TEST(Cosine, ExtremesOfFloatNeitherOverflowNorVanish) {
  const std::vector<float> largest(1000, std::numeric_limits<float>::max());
  const std::vector<float> smallest(1000, std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(cosine_similarity(largest, largest), 1.0);
  EXPECT_EQ(cosine_similarity(smallest, smallest), 1.0);
  EXPECT_NEAR(cosine_similarity(largest, smallest), 1.0, 1e-14);
}

TEST(Cosine, WithAZeroVectorIsZero) {
  const std::vector<float> zero(5);
  EXPECT_EQ(cosine_similarity(zero, random_vector(5, 1)), 0);
  EXPECT_EQ(cosine_similarity(random_vector(5, 1), zero), 0);
  EXPECT_EQ(cosine_similarity(zero, zero), 0);
  EXPECT_EQ(cosine_similarity({}, {}), 0);
}

TEST(Cosine, OfWhatIsNotFiniteIsNaN) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (std::size_t place : {0, 9}) {
      std::vector<float> a = random_vector(10, 1);
      a[place] = bad;
      EXPECT_TRUE(std::isnan(cosine_similarity(a, random_vector(10, 2))));
      EXPECT_TRUE(std::isnan(cosine_similarity(a, a)));
      EXPECT_TRUE(std::isnan(cosine_similarity(std::vector<float>(10), a)));
    }
  }
}

TEST(Cosine, RefusesDifferentLengths) {
  EXPECT_THROW(cosine_similarity(random_vector(3, 1), random_vector(4, 1)), std::invalid_argument);
}

}  // namespace
}  // namespace fathom
