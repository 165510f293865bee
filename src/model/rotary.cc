#include "model/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom {
namespace {

constexpr double two_pi = 2 * std::numbers::pi;

double llama3_frequency(double frequency, const Llama3Scaling& scaling) {
  const double wavelength = two_pi / frequency;
  const double ratio = scaling.original_context / wavelength;
  if (ratio > scaling.high_frequency_factor) return frequency;
  if (ratio < scaling.low_frequency_factor) return frequency / scaling.factor;
  const double smooth = (ratio - scaling.low_frequency_factor) /
                        (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

// The dimension whose wavelength fits `rotations` times into the original context.
double yarn_dimension(double rotations, const RotaryConfig& config, const YarnScaling& scaling) {
  return static_cast<double>(config.dimensions) *
         std::log(scaling.original_context / (rotations * two_pi)) / (2 * std::log(config.base));
}

double yarn_frequency(double frequency, std::size_t pair, const RotaryConfig& config,
                      const YarnScaling& scaling) {
  double low = yarn_dimension(scaling.beta_fast, config, scaling);
  double high = yarn_dimension(scaling.beta_slow, config, scaling);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(config.dimensions) - 1);
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return frequency / scaling.factor * ramp + frequency * (1 - ramp);
}

}  // namespace

std::vector<float> rotary_frequencies(const RotaryConfig& config) {
  std::vector<float> frequencies(config.dimensions / 2);
  for (std::size_t pair = 0; pair < frequencies.size(); ++pair) {
    double f = 1 / std::pow(config.base,
                            2 * static_cast<double>(pair) / static_cast<double>(config.dimensions));
    if (const auto* linear = std::get_if<LinearScaling>(&config.scaling)) f /= linear->factor;
    if (const auto* llama3 = std::get_if<Llama3Scaling>(&config.scaling)) {
      f = llama3_frequency(f, *llama3);
    }
    if (const auto* yarn = std::get_if<YarnScaling>(&config.scaling)) {
      f = yarn_frequency(f, pair, config, *yarn);
    }
    if (const auto* factors = std::get_if<FrequencyFactors>(&config.scaling)) {
      f /= factors->factors.at(pair);
    }
    frequencies[pair] = static_cast<float>(f);
  }
  return frequencies;
}

float rotary_attention_factor(const RotaryConfig& config) {
  const auto* const yarn = std::get_if<YarnScaling>(&config.scaling);
  return yarn == nullptr ? 1.0F : static_cast<float>(yarn->attention_factor);
}

double yarn_attention_factor(double factor) {
  return factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1.0;
}

}  // namespace fathom
