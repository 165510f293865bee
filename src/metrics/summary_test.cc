#include "metrics/summary.h"

#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Summary, GivesMedianAndRange) {
  const Summary odd = summarize(std::vector<double>{3, 1, 2});
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.minimum, 1);
  EXPECT_EQ(odd.maximum, 3);
  EXPECT_EQ(summarize(std::vector<double>{4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(summarize(std::vector<double>{7}).median, 7);
  EXPECT_THROW(summarize({}), std::invalid_argument);
}

}  // namespace
}  // namespace fathom
