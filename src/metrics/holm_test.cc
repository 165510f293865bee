#include "metrics/holm.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "metrics/significance_golden.h"

namespace fathom {
namespace {

TEST(Holm, EqualsStatsmodels) {
  const nlohmann::json golden = significance_golden();
  ASSERT_FALSE(golden.at("holm").empty());
  for (const nlohmann::json& test : golden.at("holm")) {
    SCOPED_TRACE(test.at("p_values").dump());
    const auto adjusted = holm(test.at("p_values").get<std::vector<double>>());
    ASSERT_EQ(adjusted.size(), test.at("adjusted").size());
    for (std::size_t i = 0; i < adjusted.size(); ++i) {
      EXPECT_DOUBLE_EQ(adjusted[i], test.at("adjusted")[i].get<double>());
    }
  }
}

// Holm's procedure is the closed test whose test of an intersection is Bonferroni's [Marcus et al.
// 1976]: a hypothesis is rejected if every intersection that it is in is.
std::vector<double> closed_test(const std::vector<double>& p_values) {
  std::vector<double> adjusted(p_values.size());
  for (std::uint32_t members = 1; members < 1U << p_values.size(); ++members) {
    double size = 0;
    double smallest = 1;
    for (std::size_t i = 0; i < p_values.size(); ++i) {
      if ((members >> i & 1) == 0) continue;
      ++size;
      smallest = std::min(smallest, p_values[i]);
    }
    const double p = std::min(1.0, size * smallest);
    for (std::size_t i = 0; i < p_values.size(); ++i) {
      if ((members >> i & 1) != 0) adjusted[i] = std::max(adjusted[i], p);
    }
  }
  return adjusted;
}

TEST(Holm, EqualsClosedTestingByBruteForce) {
  RandomStream stream({.seed = 3});
  for (std::size_t size = 1; size <= 5; ++size) {
    for (int repeat = 0; repeat < 300; ++repeat) {
      std::vector<double> p_values(size);
      // Every third family has ties.
      for (double& p : p_values) {
        p = repeat % 3 == 0 ? static_cast<double>(stream.below(5)) / 4 : stream.uniform() / 2;
      }
      EXPECT_EQ(holm(p_values), closed_test(p_values));
    }
  }
}

TEST(Holm, HandlesTheEdges) {
  EXPECT_TRUE(holm({}).empty());
  EXPECT_EQ(holm(std::vector<double>{1, 0}), (std::vector<double>{1, 0}));
  EXPECT_EQ(holm(std::vector<double>{0.75, 0.75}), (std::vector<double>{1, 1}));
}

TEST(Holm, RefusesWhatIsNoPValue) {
  for (const double bad : {-0.01, 1.01, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(holm(std::vector<double>{0.5, bad}), std::invalid_argument);
  }
}

}  // namespace
}  // namespace fathom
