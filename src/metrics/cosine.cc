#include "metrics/cosine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <stdexcept>

namespace fathom {
namespace {

// Element i adds to sum i % lanes. Sums that do not wait for each other keep vector units busy.
constexpr std::size_t lanes = 8;
using Sums = std::array<double, lanes>;

double total(const Sums& sums) { return std::accumulate(sums.begin(), sums.end(), 0.0); }

}  // namespace

double cosine_similarity(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) throw std::invalid_argument("vectors of different lengths");
  Sums ab{};
  Sums aa{};
  Sums bb{};
  const auto add = [&](std::size_t i, std::size_t lane) {
    const double x = a[i];
    const double y = b[i];
    ab[lane] += x * y;
    aa[lane] += x * x;
    bb[lane] += y * y;
  };
  const std::size_t whole = a.size() - a.size() % lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) add(i + lane, lane);
  }
  for (std::size_t i = whole; i < a.size(); ++i) add(i, i - whole);

  // One root of the product, not a product of roots: the root of a rounded square is exact. Squares
  // of floats neither overflow nor vanish in double, and neither does a product of two sums.
  const double norms = std::sqrt(total(aa) * total(bb));
  if (norms == 0) return 0;
  return std::clamp(total(ab) / norms, -1.0, 1.0);
}

}  // namespace fathom
