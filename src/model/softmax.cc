#include "model/softmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace fathom {
namespace {

// Running values side by side: compilers make vector instructions of them, but not of one.
constexpr std::size_t lanes = 16;

// exp(-87), 1.6e-38: no longer matters in a sum from 1 on.
constexpr float smallest_exponent = -87;

// exp(x) for x from smallest_exponent to 0, to about two units in the last place; NaN stays NaN.
// The library's takes several times as long over a vocabulary, since it is called for one number at
// a time.
float exp_nonpositive(float x) {
  // exp(x) = 2^n exp(r), |r| <= ln(2) / 2. Adding 1.5 * 2^23 rounds to an integer, which then
  // stands in the lowest bits.
  constexpr float rounding = 12582912;
  const float shifted = x * 1.44269504F + rounding;
  const float n = shifted - rounding;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln(2) in two parts
  // Taylor's series: the first term left out is below 2^-27 of the result.
  const float p =
      ((((((r * (1.0F / 5040) + 1.0F / 720) * r + 1.0F / 120) * r + 1.0F / 24) * r + 1.0F / 6) * r +
        0.5F) *
           r +
       1) *
          r +
      1;
  const std::int32_t exponent =
      std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(rounding);
  const float power = std::bit_cast<float>((exponent + 127) << 23);
  return p * power;
}

// The sum of exp(logits - largest).
double sum_of_exponentials(std::span<const float> logits, float largest) {
  std::array<float, 512> terms;
  double total = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += terms.size()) {
    const auto block = logits.subspan(begin, std::min(terms.size(), logits.size() - begin));
    const auto differences = std::span(terms).first(block.size());
    for (std::size_t i = 0; i < block.size(); ++i) differences[i] = block[i] - largest;
    exp_in_place(differences);
    total += sum(differences);
  }
  return total;
}

}  // namespace

// Two loops, which compilers make vector instructions of.
void exp_in_place(std::span<float> values) {
  for (float& value : values) value = smallest_exponent > value ? smallest_exponent : value;
  for (float& value : values) value = exp_nonpositive(value);
}

float maximum(std::span<const float> values) {
  std::array<float, lanes> maxima;
  maxima.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    for (std::size_t k = 0; k < lanes; ++k) {
      maxima[k] = values[i + k] > maxima[k] ? values[i + k] : maxima[k];
    }
  }
  for (; i < values.size(); ++i) maxima[0] = values[i] > maxima[0] ? values[i] : maxima[0];
  return *std::max_element(maxima.begin(), maxima.end());
}

double sum(std::span<const float> values) {
  std::array<double, lanes> sums{};
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    for (std::size_t k = 0; k < lanes; ++k) sums[k] += values[i + k];
  }
  for (; i < values.size(); ++i) sums[0] += values[i];
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

void refuse_logits() {
  throw InputError("the model's logits are no numbers: its weights are damaged");
}

double log_sum_exp(std::span<const float> logits) {
  const float largest = maximum(logits);
  if (largest == -std::numeric_limits<float>::infinity()) refuse_logits();
  return largest + std::log(sum_of_exponentials(logits, largest));
}

float softmax_margin(const LogitRow& logits) {
  const std::span<const float> values = logits.values;
  const float largest = maximum(logits.maxima.empty() ? values : logits.maxima);
  if (largest == -std::numeric_limits<float>::infinity()) refuse_logits();
  // The first place of the greatest value; the next greatest is among the values on its two sides.
  std::size_t from = 0;
  if (!logits.maxima.empty()) {
    const auto block = std::find(logits.maxima.begin(), logits.maxima.end(), largest);
    from = static_cast<std::size_t>(block - logits.maxima.begin()) * logit_block;
  }
  const auto where =
      std::find(values.begin() + static_cast<std::ptrdiff_t>(from), values.end(), largest);
  const auto place = static_cast<std::size_t>(where - values.begin());
  const float next = std::max(maximum(values.first(place)), maximum(values.subspan(place + 1)));
  const double gap = static_cast<double>(next) - static_cast<double>(largest);
  return static_cast<float>(-std::expm1(gap) / sum_of_exponentials(values, largest));
}

}  // namespace fathom
