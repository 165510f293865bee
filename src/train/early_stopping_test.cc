#include "train/early_stopping.h"

#include <limits>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(EarlyStopping, StopsAfterAsManyAsItsPatience) {
  EarlyStopping stopping(2);
  EXPECT_FALSE(stopping.best_step());
  EXPECT_TRUE(stopping.add(10, 2.0));
  EXPECT_FALSE(stopping.add(20, 2.0));  // no better
  EXPECT_FALSE(stopping.stops());
  EXPECT_TRUE(stopping.add(30, 1.5));
  EXPECT_FALSE(stopping.add(40, 1.6));
  EXPECT_FALSE(stopping.stops());
  EXPECT_FALSE(stopping.add(50, 1.7));
  EXPECT_TRUE(stopping.stops());
  EXPECT_EQ(stopping.best_step(), 30U);
}

TEST(EarlyStopping, NeverStopsWithoutPatience) {
  EarlyStopping stopping(std::nullopt);
  for (std::uint64_t step = 1; step < 20; ++step) stopping.add(step, static_cast<double>(step));
  EXPECT_FALSE(stopping.stops());
  EXPECT_EQ(stopping.best_step(), 1U);
}

TEST(EarlyStopping, TakesWhatIsNoNumberForTheWorst) {
  EarlyStopping stopping(1);
  EXPECT_TRUE(stopping.add(1, std::numeric_limits<double>::quiet_NaN()));
  EXPECT_TRUE(stopping.add(2, 5.0));
  EXPECT_FALSE(stopping.add(3, std::numeric_limits<double>::quiet_NaN()));
  EXPECT_EQ(stopping.best_step(), 2U);
  EXPECT_TRUE(stopping.stops());
}

}  // namespace
}  // namespace fathom
