#pragma once

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fathom {

/// golden/significance.json, for tests.
inline nlohmann::json significance_golden() {
  std::ifstream file(FATHOM_SOURCE_DIR "/golden/significance.json");
  return nlohmann::json::parse(file);
}

/// The values that a case of the golden is about.
inline std::vector<double> sample_of(const nlohmann::json& golden, const nlohmann::json& test) {
  return golden.at("samples").at(test.at("sample").get<std::string>()).get<std::vector<double>>();
}

/// The two sides differ by roundings, about 1e-14 of the value. The largest, 1e-13, is SciPy's: it
/// takes an interval's upper end from a probability near 1, where the tail loses digits.
inline void expect_close(double actual, const nlohmann::json& expected) {
  constexpr double relative = 1e-12;
  EXPECT_NEAR(actual, expected.get<double>(), relative * std::abs(expected.get<double>()));
}

}  // namespace fathom
