#include "metrics/chi_squared.h"

#include <cmath>
#include <fstream>
#include <stdexcept>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fathom {
namespace {

using Table = std::vector<std::vector<std::uint64_t>>;

TEST(ChiSquared, EqualsSciPy) {
  std::ifstream in(FATHOM_SOURCE_DIR "/golden/chi_squared.json");
  const nlohmann::json golden = nlohmann::json::parse(in);
  ASSERT_GT(golden.at("tests").size(), 10);
  for (const nlohmann::json& test : golden.at("tests")) {
    SCOPED_TRACE(test.dump());
    const ChiSquaredResult result = chi_squared_homogeneity(test.at("table").get<Table>());
    // Both round in the last digits, in p by as much as the statistic is large.
    const auto statistic = test.at("statistic").get<double>();
    const auto p_value = test.at("p_value").get<double>();
    EXPECT_NEAR(result.statistic, statistic, 1e-12 * (1 + statistic));
    EXPECT_NEAR(result.p_value, p_value, 1e-10 * p_value);
    EXPECT_EQ(result.degrees_of_freedom, test.at("degrees_of_freedom").get<std::size_t>());
  }
}

TEST(ChiSquared, NothingToCompareShowsNothing) {
  for (const Table& table : {Table{}, Table{{}}, Table{{1, 2, 3}}, Table{{4}, {5}},
                             Table{{0, 0}, {0, 0}}, Table{{3, 0}, {9, 0}}, Table{{0, 0}, {3, 9}}}) {
    const ChiSquaredResult result = chi_squared_homogeneity(table);
    EXPECT_EQ(result.statistic, 0);
    EXPECT_EQ(result.degrees_of_freedom, 0);
    EXPECT_EQ(result.p_value, 1);
  }
}

TEST(ChiSquared, RefusesARaggedTable) {
  EXPECT_THROW(chi_squared_homogeneity(Table{{1, 2}, {3}}), std::invalid_argument);
}

}  // namespace
}  // namespace fathom
