#pragma once

#include <cstddef>
#include <variant>
#include <vector>

namespace fathom {

/// How rotary position embeddings were stretched to longer contexts than the model was first
/// trained on.
struct NoScaling {};
/// All positions divided by `factor`.
struct LinearScaling {
  double factor = 1;
};
/// Low frequencies divided by `factor`, high ones kept, a ramp between [Llama 3.1].
struct Llama3Scaling {
  double factor = 1;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  double original_context = 8192;
};
/// A ramp between interpolated and kept frequencies, and a factor on the attention [YaRN, Peng et
/// al. 2023].
struct YarnScaling {
  double factor = 1;
  double original_context = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  double attention_factor = 1;  ///< on cosines and sines
  bool truncate = true;         ///< whether the ramp's ends are rounded to whole dimensions
};
/// Every frequency divided by a factor of its own, as some files store them: [dimensions / 2].
struct FrequencyFactors {
  std::vector<float> factors;
};
using RotaryScaling =
    std::variant<NoScaling, LinearScaling, Llama3Scaling, YarnScaling, FrequencyFactors>;

/// Rotary position embeddings of a head [Su et al. 2021].
struct RotaryConfig {
  std::size_t dimensions = 0;  ///< how many of a head's dimensions rotate; even
  double base = 10000;
  RotaryScaling scaling;
};

/// The angle per position of each pair of dimensions, in float32 as the models were trained:
/// [dimensions / 2].
std::vector<float> rotary_frequencies(const RotaryConfig& config);

/// What cosines and sines are multiplied with: 1 except under YaRN.
float rotary_attention_factor(const RotaryConfig& config);

/// The attention factor that YaRN uses where a model states none.
double yarn_attention_factor(double factor);

}  // namespace fathom
