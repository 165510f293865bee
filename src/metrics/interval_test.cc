#include "metrics/interval.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/math/distributions/students_t.hpp>
#include <gtest/gtest.h>

#include "base/random.h"
#include "metrics/significance_golden.h"

namespace fathom {
namespace {

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double median(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return (sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2]) / 2;
}

double standard_deviation(std::span<const double> values) {
  const double center = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - center) * (value - center);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

Statistic statistic_of(const nlohmann::json& test) {
  const auto& name = test.at("statistic").get_ref<const std::string&>();
  if (name == "mean") return mean;
  if (name == "median") return median;
  EXPECT_EQ(name, "standard_deviation");
  return standard_deviation;
}

std::vector<double> normal_sample(std::size_t size, RandomStream& stream) {
  std::vector<double> values(size);
  for (double& value : values) {
    value = std::sqrt(-2 * std::log(1 - stream.uniform())) *
            std::cos(2 * std::numbers::pi * stream.uniform());
  }
  return values;
}

void expect_no_interval(const Interval& interval, double estimate) {
  EXPECT_EQ(interval.estimate, estimate);
  EXPECT_TRUE(std::isnan(interval.low));
  EXPECT_TRUE(std::isnan(interval.high));
}

void expect_point(const Interval& interval, double value) {
  EXPECT_EQ(interval.estimate, value);
  EXPECT_EQ(interval.low, value);
  EXPECT_EQ(interval.high, value);
}

// Four standard errors of a share of `count` simulations.
double simulation_error(double share, int count) {
  return 4 * std::sqrt(share * (1 - share) / count);
}

TEST(TInterval, EqualsSciPy) {
  const nlohmann::json golden = significance_golden();
  ASSERT_FALSE(golden.at("t_interval").empty());
  for (const nlohmann::json& test : golden.at("t_interval")) {
    SCOPED_TRACE(test.dump());
    const Interval interval = t_interval(sample_of(golden, test), test.at("level"));
    expect_close(interval.estimate, test.at("estimate"));
    expect_close(interval.low, test.at("low"));
    expect_close(interval.high, test.at("high"));
  }
}

TEST(TInterval, CoversAsOftenAsItSays) {
  RandomStream stream({.seed = 11});
  constexpr int simulations = 20000;
  for (const std::size_t size : {2, 5, 25}) {
    int covered = 0;
    for (int i = 0; i < simulations; ++i) {
      const Interval interval = t_interval(normal_sample(size, stream), 0.9);
      covered += interval.low <= 0 && 0 <= interval.high ? 1 : 0;
    }
    EXPECT_NEAR(covered / double{simulations}, 0.9, simulation_error(0.9, simulations)) << size;
  }
}

TEST(TInterval, DegenerateValuesAreDefined) {
  expect_no_interval(t_interval(std::vector<double>{0.3}), 0.3);
  expect_point(t_interval(std::vector<double>(7, 0.1)), 0.1);
}

TEST(TInterval, RefusesWhatHasNone) {
  EXPECT_THROW(t_interval({}), std::invalid_argument);
  const std::vector<double> values = {1, 2};
  for (const double bad : {0.0, 1.0, -0.5, 95.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(t_interval(values, bad), std::invalid_argument);
    EXPECT_THROW(bca_interval(1, values, values, bad), std::invalid_argument);
    EXPECT_THROW(bootstrap_interval(values, mean, {.level = bad}), std::invalid_argument);
  }
}

TEST(BcaInterval, EqualsSciPy) {
  const nlohmann::json golden = significance_golden();
  ASSERT_FALSE(golden.at("bca_interval").empty());
  for (const nlohmann::json& test : golden.at("bca_interval")) {
    SCOPED_TRACE(test.at("sample").dump() + test.at("statistic").dump());
    const Interval interval =
        bca_interval(test.at("estimate"), test.at("replicates").get<std::vector<double>>(),
                     test.at("leave_one_out").get<std::vector<double>>(), test.at("level"));
    EXPECT_EQ(interval.estimate, test.at("estimate"));
    expect_close(interval.low, test.at("low"));
    expect_close(interval.high, test.at("high"));
  }
}

TEST(BcaInterval, HasNoneIfTheEstimateIsOutsideItsReplicates) {
  const std::vector<double> replicates = {1, 2, 3};
  const std::vector<double> leave_one_out = {1, 2, 4};
  expect_no_interval(bca_interval(0.5, replicates, leave_one_out), 0.5);
  expect_no_interval(bca_interval(3.5, replicates, leave_one_out), 3.5);
  const Interval at_the_edge = bca_interval(1, replicates, leave_one_out);
  EXPECT_LE(at_the_edge.low, at_the_edge.high);
}

TEST(BcaInterval, EqualLeaveOneOutValuesDoNotAccelerate) {
  std::vector<double> replicates(101);
  std::iota(replicates.begin(), replicates.end(), 0);
  // Rounding must not tell them apart: the sum of ten 0.1 is not 1.
  const Interval interval = bca_interval(50, replicates, std::vector<double>(10, 0.1), 0.9);
  EXPECT_NEAR(interval.low, 5, 1e-12);
  EXPECT_NEAR(interval.high, 95, 1e-12);
}

TEST(BcaInterval, EndsAtTheExtremesWhereTheAccelerationHasItsPole) {
  std::vector<double> replicates(1000);
  std::iota(replicates.begin(), replicates.end(), 0);
  // One outlier gives nearly the largest acceleration, 1/6; at this level z is 6.1.
  std::vector<double> leave_one_out(10000, 0.0);
  leave_one_out[0] = -1;
  EXPECT_EQ(bca_interval(500, replicates, leave_one_out, 1 - 1e-9).high, 999);
  leave_one_out[0] = 1;
  EXPECT_EQ(bca_interval(500, replicates, leave_one_out, 1 - 1e-9).low, 0);
}

TEST(BcaInterval, RefusesWhatIsMissing) {
  const std::vector<double> values = {1, 2};
  EXPECT_THROW(bca_interval(1, {}, values), std::invalid_argument);
  EXPECT_THROW(bca_interval(1, values, {}), std::invalid_argument);
}

TEST(BcaInterval, RefusesWhatIsNotFinite) {
  const std::vector<double> values = {1, 2};
  for (const double bad :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const std::vector<double> bad_values = {1, bad, 2};
    EXPECT_THROW(bca_interval(bad, values, values), std::invalid_argument);
    EXPECT_THROW(bca_interval(1, bad_values, values), std::invalid_argument);
    EXPECT_THROW(bca_interval(1, values, bad_values), std::invalid_argument);
  }
}

TEST(BootstrapInterval, IsWhereSciPyAllowsIt) {
  const nlohmann::json golden = significance_golden();
  ASSERT_FALSE(golden.at("bootstrap_interval").empty());
  for (const nlohmann::json& test : golden.at("bootstrap_interval")) {
    SCOPED_TRACE(test.dump());
    const Interval interval = bootstrap_interval(
        sample_of(golden, test), statistic_of(test),
        {.seed = 1, .resamples = test.at("resamples"), .level = test.at("level")});
    EXPECT_GE(interval.low, test.at("low")[0]);
    EXPECT_LE(interval.low, test.at("low")[1]);
    EXPECT_GE(interval.high, test.at("high")[0]);
    EXPECT_LE(interval.high, test.at("high")[1]);
  }
}

TEST(BootstrapInterval, CoversAMeanAsOftenAsItShould) {
  // For the mean of n normal values the bootstrap's interval is that of known variance with the
  // divisor n: it covers as often as |t| <= z sqrt((n - 1) / n), with n - 1 degrees of freedom.
  constexpr std::size_t size = 20;
  constexpr double z = 1.6448536269514722;
  const boost::math::students_t distribution(size - 1);
  const double covers = 1 - 2 * cdf(distribution, -z * std::sqrt((size - 1.0) / size));

  RandomStream stream({.seed = 13});
  constexpr int simulations = 1000;
  int covered = 0;
  for (int i = 0; i < simulations; ++i) {
    const Interval interval =
        bootstrap_interval(normal_sample(size, stream), mean,
                           {.seed = static_cast<std::uint64_t>(i), .resamples = 499, .level = 0.9});
    covered += interval.low <= 0 && 0 <= interval.high ? 1 : 0;
  }
  EXPECT_NEAR(covered / double{simulations}, covers, simulation_error(covers, simulations));
}

TEST(BootstrapInterval, DependsOnTheSeedAlone) {
  const std::vector<double> values = {1, 4, 2, 8, 5, 7};
  const Interval once = bootstrap_interval(values, mean, {.seed = 5});
  const Interval again = bootstrap_interval(values, mean, {.seed = 5});
  EXPECT_EQ(once.low, again.low);
  EXPECT_EQ(once.high, again.high);
  EXPECT_EQ(once.estimate, mean(values));
  std::vector<double> lows;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    lows.push_back(bootstrap_interval(values, mean, {.seed = seed, .resamples = 200}).low);
  }
  EXPECT_NE(std::count(lows.begin(), lows.end(), lows[0]), 10);
}

TEST(BootstrapInterval, DegenerateValuesAreDefined) {
  expect_no_interval(bootstrap_interval(std::vector<double>{2}, mean, {}), 2);
  expect_point(bootstrap_interval(std::vector<double>(9, 0.1), median, {}), 0.1);
  // Proportions of 0 and 1.
  expect_point(bootstrap_interval(std::vector<double>(20, 0), mean, {}), 0);
  expect_point(bootstrap_interval(std::vector<double>(20, 1), mean, {}), 1);
  const auto constant = [](std::span<const double>) { return 3.0; };
  expect_point(bootstrap_interval(std::vector<double>{1, 2, 3}, constant, {}), 3);
}

TEST(BootstrapInterval, GivesTheStatisticSamplesOfTheValues) {
  const std::vector<double> values = {1, 2, 4};
  std::vector<std::vector<double>> samples;
  const auto record = [&samples](std::span<const double> sample) {
    samples.emplace_back(sample.begin(), sample.end());
    return mean(sample);
  };
  bootstrap_interval(values, record, {.resamples = 5000});
  ASSERT_EQ(samples.size(), 1 + 5000 + values.size());
  EXPECT_EQ(samples.front(), values);
  const auto after_resamples = samples.end() - 3;
  EXPECT_EQ(after_resamples[0], (std::vector<double>{2, 4}));
  EXPECT_EQ(after_resamples[1], (std::vector<double>{1, 4}));
  EXPECT_EQ(after_resamples[2], (std::vector<double>{1, 2}));
  for (std::size_t place = 0; place < values.size(); ++place) {
    for (const double value : values) {
      const auto count =
          std::count_if(samples.begin() + 1, after_resamples, [&](const auto& sample) {
            return sample.size() == values.size() && sample[place] == value;
          });
      EXPECT_NEAR(count / 5000.0, 1.0 / 3, simulation_error(1.0 / 3, 5000));
    }
  }
}

TEST(BootstrapInterval, RefusesWhatCannotBeResampled) {
  const std::vector<double> values = {1, 2};
  EXPECT_THROW(bootstrap_interval({}, mean, {}), std::invalid_argument);
  EXPECT_THROW(bootstrap_interval(values, mean, {.resamples = 0}), std::invalid_argument);
  const auto ratio = [](std::span<const double> sample) { return 1 / standard_deviation(sample); };
  EXPECT_THROW(bootstrap_interval(values, ratio, {}), std::invalid_argument);
}

// Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3.
TEST(ShareInterval, EqualsPublishedOnes) {
  struct Published {
    std::uint64_t count, n;
    double low, high;
  };
  for (const Published& each :
       {Published{81, 263, 0.2553, 0.3662}, Published{15, 148, 0.0624, 0.1605},
        Published{0, 20, 0.0000, 0.1611}, Published{1, 29, 0.0061, 0.1718}}) {
    const Interval interval = share_interval(each.count, each.n);
    EXPECT_NEAR(interval.low, each.low, 5e-5);
    EXPECT_NEAR(interval.high, each.high, 5e-5);
    EXPECT_DOUBLE_EQ(interval.estimate,
                     static_cast<double>(each.count) / static_cast<double>(each.n));
    const Interval rest = share_interval(each.n - each.count, each.n);
    EXPECT_NEAR(rest.low, 1 - interval.high, 1e-12);
  }
}

TEST(ShareInterval, RefusesWhatIsNoShare) {
  EXPECT_THROW(static_cast<void>(share_interval(0, 0)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(share_interval(3, 2)), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(share_interval(1, 2, 1.0)), std::invalid_argument);
}

}  // namespace
}  // namespace fathom
