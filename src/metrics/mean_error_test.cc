#include "metrics/mean_error.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(MeanError, DividesByOneLess) {
  const MeanError two = mean_and_error(std::vector<double>{1, 3});
  EXPECT_EQ(two.mean, 2);
  EXPECT_DOUBLE_EQ(two.error, 1);
  EXPECT_DOUBLE_EQ(mean_and_error(std::vector<double>{2, 4, 4, 4, 5, 5, 7, 9}).error,
                   std::sqrt(32.0 / 7 / 8));
}

TEST(MeanError, OfEqualValuesIsExact) {
  for (std::size_t count = 2; count < 100; ++count) {
    const MeanError equal = mean_and_error(std::vector<double>(count, 0.1));
    EXPECT_EQ(equal.mean, 0.1) << count;
    EXPECT_EQ(equal.error, 0) << count;
  }
}

TEST(MeanError, OfOneValueIsNotDefined) {
  const MeanError one = mean_and_error(std::vector<double>{7});
  EXPECT_EQ(one.mean, 7);
  EXPECT_TRUE(std::isnan(one.error));
}

TEST(MeanError, SquaresNeitherOverflowNorVanish) {
  for (const double unit : {1e-300, 1e300}) {
    const MeanError values = mean_and_error(std::vector<double>{unit, 3 * unit});
    EXPECT_DOUBLE_EQ(values.mean, 2 * unit);
    EXPECT_DOUBLE_EQ(values.error, unit);
  }
}

TEST(MeanError, SmallDifferencesOfLargeValuesAreSeen) {
  // 0, 1 and 5 above 2^52, where values are whole: the mean is rounded, the error must not be.
  const MeanError values = mean_and_error(std::vector<double>{0x1p52, 0x1p52 + 1, 0x1p52 + 5});
  EXPECT_EQ(values.mean, 0x1p52 + 2);
  EXPECT_DOUBLE_EQ(values.error, std::sqrt(14.0 / 2 / 3));
}

TEST(MeanError, RefusesNoneAndWhatIsNotFinite) {
  EXPECT_THROW(mean_and_error({}), std::invalid_argument);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(mean_and_error(std::vector<double>{bad}), std::invalid_argument);
    EXPECT_THROW(mean_and_error(std::vector<double>{1, bad, 1}), std::invalid_argument);
  }
  EXPECT_THROW(mean_and_error(std::vector<double>{1.7e308, 1.7e308}), std::invalid_argument);
}

}  // namespace
}  // namespace fathom
