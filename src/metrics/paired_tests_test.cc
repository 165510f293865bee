#include "metrics/paired_tests.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "metrics/significance_golden.h"

namespace fathom {
namespace {

constexpr Alternative alternatives[] = {Alternative::two_sided, Alternative::greater,
                                        Alternative::less};
constexpr double infinity = std::numeric_limits<double>::infinity();

Alternative alternative_of(const nlohmann::json& test) {
  const auto& name = test.at("alternative").get_ref<const std::string&>();
  if (name == "greater") return Alternative::greater;
  if (name == "less") return Alternative::less;
  EXPECT_EQ(name, "two_sided");
  return Alternative::two_sided;
}

std::vector<double> negated(std::vector<double> values) {
  for (double& value : values) value = -value;
  return values;
}

TEST(PairedTTest, EqualsSciPy) {
  const nlohmann::json golden = significance_golden();
  ASSERT_FALSE(golden.at("paired_t_test").empty());
  for (const nlohmann::json& test : golden.at("paired_t_test")) {
    SCOPED_TRACE(test.dump());
    const TestResult result = paired_t_test(sample_of(golden, test), alternative_of(test));
    expect_close(result.statistic, test.at("statistic"));
    expect_close(result.p_value, test.at("p_value"));
  }
}

TEST(PairedTTest, DegenerateDifferencesAreDefined) {
  for (const Alternative alternative : alternatives) {
    const TestResult zeros = paired_t_test(std::vector<double>(5), alternative);
    EXPECT_EQ(zeros.statistic, 0);
    EXPECT_EQ(zeros.p_value, 1);
    const TestResult one = paired_t_test(std::vector<double>{3}, alternative);
    EXPECT_TRUE(std::isnan(one.statistic));
    EXPECT_EQ(one.p_value, 1);
    const TestResult equal = paired_t_test(std::vector<double>(5, 0.1), alternative);
    EXPECT_EQ(equal.statistic, infinity);
    EXPECT_EQ(equal.p_value, alternative == Alternative::less ? 1 : 0);
    const TestResult below = paired_t_test(std::vector<double>(5, -0.1), alternative);
    EXPECT_EQ(below.statistic, -infinity);
    EXPECT_EQ(below.p_value, alternative == Alternative::greater ? 1 : 0);
  }
}

TEST(PairedTTest, SquaresNeitherOverflowNorVanish) {
  std::vector<double> values(200, 1);
  values[0] = -1;
  const double p = paired_t_test(values, Alternative::two_sided).p_value;
  EXPECT_GT(p, 0);
  for (const double unit : {1e-200, 1e200}) {
    std::vector<double> scaled = values;
    for (double& value : scaled) value *= unit;
    EXPECT_NEAR(paired_t_test(scaled, Alternative::two_sided).p_value, p, 1e-10 * p);
  }
}

TEST(PairedTests, RefuseNoneAndWhatIsNotFinite) {
  for (const std::vector<double>& bad :
       {std::vector<double>{}, {1, infinity}, {1, std::numeric_limits<double>::quiet_NaN(), 2}}) {
    EXPECT_THROW(paired_t_test(bad, Alternative::greater), std::invalid_argument);
    EXPECT_THROW(wilcoxon_signed_rank(bad, Alternative::greater), std::invalid_argument);
    EXPECT_THROW(paired_tost(bad, 1), std::invalid_argument);
  }
}

TEST(Wilcoxon, EqualsSciPy) {
  const nlohmann::json golden = significance_golden();
  std::vector<std::string> methods;
  for (const nlohmann::json& test : golden.at("wilcoxon_signed_rank")) {
    SCOPED_TRACE(test.dump());
    const TestResult result = wilcoxon_signed_rank(sample_of(golden, test), alternative_of(test));
    EXPECT_EQ(result.statistic, test.at("statistic"));
    expect_close(result.p_value, test.at("p_value"));
    methods.push_back(test.at("method"));
  }
  for (const char* method : {"exact", "exact with ties", "asymptotic"}) {
    EXPECT_GE(std::count(methods.begin(), methods.end(), method), 6) << method;
  }
}

// All signs, one by one. Integer magnitudes, so that ties are plenty.
TestResult by_brute_force(const std::vector<double>& differences, Alternative alternative) {
  std::vector<double> values = differences;
  std::erase(values, 0);
  const auto positive_ranks = [&values](auto is_positive) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!is_positive(i)) continue;
      sum += 0.5;
      for (const double other : values) {
        if (std::abs(other) < std::abs(values[i])) sum += 1;
        if (std::abs(other) == std::abs(values[i])) sum += 0.5;
      }
    }
    return sum;
  };
  const double observed = positive_ranks([&](std::size_t i) { return values[i] > 0; });
  double less = 0;
  double greater = 0;
  const std::uint32_t patterns = 1U << values.size();
  for (std::uint32_t signs = 0; signs < patterns; ++signs) {
    const double sum = positive_ranks([&](std::size_t i) { return (signs >> i & 1) != 0; });
    less += sum <= observed ? 1.0 / patterns : 0;
    greater += sum >= observed ? 1.0 / patterns : 0;
  }
  switch (alternative) {
    case Alternative::less:
      return {observed, less};
    case Alternative::greater:
      return {observed, greater};
    case Alternative::two_sided:
      break;
  }
  return {observed, std::min(1.0, 2 * std::min(less, greater))};
}

TEST(Wilcoxon, IsExactOverAllSigns) {
  RandomStream stream({.seed = 5});
  for (int repeat = 0; repeat < 60; ++repeat) {
    std::vector<double> differences(1 + stream.below(9));
    for (double& value : differences) value = static_cast<double>(stream.below(8)) - 3;
    for (const Alternative alternative : alternatives) {
      const TestResult result = wilcoxon_signed_rank(differences, alternative);
      const TestResult expected = by_brute_force(differences, alternative);
      EXPECT_EQ(result.statistic, expected.statistic);
      EXPECT_EQ(result.p_value, expected.p_value);
    }
  }
}

TEST(Wilcoxon, TheNormalDistributionTakesOverAboveFifty) {
  std::vector<double> differences;
  for (int i = 1; i <= 50; ++i) differences.push_back(i % 5 < 3 ? i : -i);
  const double exact = wilcoxon_signed_rank(differences, Alternative::greater).p_value;
  differences.push_back(-0.5);
  const double normal = wilcoxon_signed_rank(differences, Alternative::greater).p_value;
  // An exact one is a whole number of sign patterns.
  const auto is_whole = [](double count) { return count == std::floor(count); };
  EXPECT_TRUE(is_whole(std::ldexp(exact, 50)));
  EXPECT_FALSE(is_whole(std::ldexp(normal, 51)));
  EXPECT_NEAR(normal, exact, 0.01);
}

TEST(Wilcoxon, IsSymmetricAndIndependentOfScale) {
  const nlohmann::json golden = significance_golden();
  for (const auto& [name, sample] : golden.at("samples").items()) {
    SCOPED_TRACE(name);
    const auto values = sample.get<std::vector<double>>();
    std::vector<double> scaled = values;
    for (double& value : scaled) value *= 0x1p-40;
    const double greater = wilcoxon_signed_rank(values, Alternative::greater).p_value;
    EXPECT_EQ(wilcoxon_signed_rank(scaled, Alternative::greater).p_value, greater);
    EXPECT_DOUBLE_EQ(wilcoxon_signed_rank(negated(values), Alternative::less).p_value, greater);
  }
}

TEST(Wilcoxon, NothingLeftToRankShowsNothing) {
  for (const Alternative alternative : alternatives) {
    for (const std::size_t size : {1, 5, 100}) {
      const TestResult zeros = wilcoxon_signed_rank(std::vector<double>(size), alternative);
      EXPECT_EQ(zeros.statistic, 0);
      EXPECT_EQ(zeros.p_value, 1);
    }
  }
  EXPECT_EQ(wilcoxon_signed_rank(std::vector<double>{3}, Alternative::greater).p_value, 0.5);
  EXPECT_EQ(wilcoxon_signed_rank(std::vector<double>{3}, Alternative::less).p_value, 1);
}

TEST(PairedTost, EqualsSciPy) {
  const nlohmann::json golden = significance_golden();
  ASSERT_FALSE(golden.at("paired_tost").empty());
  for (const nlohmann::json& test : golden.at("paired_tost")) {
    SCOPED_TRACE(test.dump());
    expect_close(paired_tost(sample_of(golden, test), test.at("margin")), test.at("p_value"));
  }
}

TEST(PairedTost, DegenerateDifferencesAreDefined) {
  EXPECT_EQ(paired_tost(std::vector<double>(5), 0.1), 0);
  EXPECT_EQ(paired_tost(std::vector<double>(5, 0.05), 0.1), 0);
  EXPECT_EQ(paired_tost(std::vector<double>(5, 0.1), 0.1), 1);
  EXPECT_EQ(paired_tost(std::vector<double>(5, -0.2), 0.1), 1);
  EXPECT_EQ(paired_tost(std::vector<double>{0}, 0.1), 1);
}

TEST(PairedTost, AMarginFarAwayIsInside) {
  // The squares of these t overflow.
  EXPECT_LT(paired_tost(std::vector<double>{0, 1}, 1e200), 1e-199);
  EXPECT_LT(paired_tost(std::vector<double>{0, 1, 3}, 1e300), 1e-300);
}

TEST(PairedTost, RefusesAMarginThatIsNone) {
  const std::vector<double> values = {1, 2};
  for (const double bad : {0.0, -1.0, infinity, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(paired_tost(values, bad), std::invalid_argument);
  }
}

}  // namespace
}  // namespace fathom
