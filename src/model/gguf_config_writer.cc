#include "model/gguf_config_writer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include <fmt/format.h>

#include "base/error.h"
#include "model/config_checks.h"
#include "model/gguf_names.h"

namespace fathom {
namespace {

std::uint32_t as_uint32(std::size_t value) { return static_cast<std::uint32_t>(value); }

/// Writes keys that begin with the architecture's name.
class ArchitectureKeys {
 public:
  ArchitectureKeys(GgufHeader& header, std::string_view architecture)
      : header_(header), architecture_(architecture) {}

  template <class T>
  void number(std::string_view key, T value) const {
    header_.add_number(name(key), value);
  }
  void string(std::string_view key, std::string_view value) const {
    header_.add_string(name(key), value);
  }
  void boolean(std::string_view key, bool value) const { header_.add_bool(name(key), value); }
  void bools(std::string_view key, const std::vector<bool>& values) const {
    header_.add_bools(name(key), values);
  }

 private:
  [[nodiscard]] std::string name(std::string_view key) const {
    return fmt::format("{}.{}", architecture_, key);
  }

  GgufHeader& header_;
  std::string architecture_;
};

void add_scaling(const ArchitectureKeys& keys, const YarnScaling& yarn, const std::string& file) {
  if (!yarn.truncate) {
    throw FileError(file, "rope_scaling.truncate", "false found, which GGUF files cannot say");
  }
  keys.string("rope.scaling.type", "yarn");
  keys.number("rope.scaling.factor", static_cast<float>(yarn.factor));
  keys.number("rope.scaling.original_context_length",
              static_cast<std::uint32_t>(std::lround(yarn.original_context)));
  // A GGUF file's factor comes on top of the usual one.
  const double factor = yarn.attention_factor / yarn_attention_factor(yarn.factor);
  if (factor != 1) keys.number("rope.scaling.attn_factor", static_cast<float>(factor));
  const YarnScaling usual;
  if (yarn.beta_fast != usual.beta_fast) {
    keys.number("rope.scaling.yarn_beta_fast", static_cast<float>(yarn.beta_fast));
  }
  if (yarn.beta_slow != usual.beta_slow) {
    keys.number("rope.scaling.yarn_beta_slow", static_cast<float>(yarn.beta_slow));
  }
}

/// Which of the rotations all files of the architecture have in a layer.
std::optional<std::size_t> usual_rotary(const ModelConfig& config, std::size_t layer) {
  if (config.rotaries.empty()) return std::nullopt;
  if (config.family == ModelFamily::smollm3 && (layer + 1) % 4 == 0) return std::nullopt;
  const bool slides = config.attention[layer].window.has_value();
  return config.family == ModelFamily::gemma3 && slides ? 1 : 0;
}

/// n if all layers but every n-th slide, 0 if all do.
std::optional<std::uint32_t> period(const std::vector<bool>& slides) {
  const auto first = std::ranges::find(slides, false);
  if (first == slides.end()) return 0;
  const auto n = static_cast<std::size_t>(first - slides.begin()) + 1;
  for (std::size_t l = 0; l < slides.size(); ++l) {
    if (slides[l] != ((l + 1) % n != 0)) return std::nullopt;
  }
  return as_uint32(n);
}

/// Which layers see only a window, as fathom's reader takes it; all of them if no pattern is said.
/// Throws FileError where layers rotate otherwise than all files of the architecture do, or windows
/// differ, which no key can say.
void add_windows(const ArchitectureKeys& keys, const ModelConfig& config, const std::string& file,
                 std::vector<std::string>& notes) {
  std::optional<std::size_t> window;
  std::vector<bool> slides;
  for (std::size_t l = 0; l < config.layers; ++l) {
    const LayerAttention& layer = config.attention[l];
    if (layer.rotary != usual_rotary(config, l) ||
        (layer.window && window.value_or(*layer.window) != *layer.window)) {
      throw FileError(
          file, "",
          fmt::format("what layer {} has of rotation and windows is not what GGUF files "
                      "of this architecture can say",
                      l + 1));
    }
    if (layer.window) window = layer.window;
    slides.push_back(layer.window.has_value());
  }
  const bool gemma = config.family == ModelFamily::gemma3;
  if (!window) {
    if (!gemma) return;
    throw FileError(file, "layer_types", "no layer slides, which GGUF files of gemma3 cannot say");
  }
  keys.number("attention.sliding_window", as_uint32(*window));
  if (const auto n = period(slides); gemma && n) {
    keys.number("attention.sliding_window_pattern", *n);
  } else if (std::ranges::count(slides, false) != 0) {
    keys.bools("attention.sliding_window_pattern", slides);
  }
  if (!gemma) {
    notes.push_back(
        fmt::format("llama.cpp reads no windows from files of this architecture; there all layers "
                    "see more than "
                    "the last {} positions",
                    *window));
  }
}

/// The factor on the products of queries and keys, where it is not the usual one. Throws FileError
/// if layers differ.
void add_attention_scale(const ArchitectureKeys& keys, const ModelConfig& config,
                         const std::string& file, std::vector<std::string>& notes) {
  ModelConfig usual = config;
  set_full_attention(usual);
  const float scale = config.attention.front().scale;
  if (std::ranges::any_of(config.attention, [&](const auto& a) { return a.scale != scale; })) {
    throw FileError(file, "", "layers scale attention differently, which GGUF files cannot say");
  }
  if (scale == usual.attention.front().scale) return;
  keys.number("attention.scale", scale);
  notes.push_back(fmt::format(
      "llama.cpp does not read the scale of attention, {:g}, from files of this architecture",
      scale));
}

/// fathom's own keys, where they do not say the default (docs/formats.md).
void add_opt(const ArchitectureKeys& keys, const ModelConfig& config) {
  if (config.embedding_width != config.width) {
    keys.number("word_embed_proj_dim", as_uint32(config.embedding_width));
  }
  const bool norms_before = config.norm.placement == NormPlacement::before;
  if (!norms_before) keys.boolean("do_layer_norm_before", false);
  if (norms_before && config.norm.final_norm == Presence::never) {
    keys.boolean("remove_final_layer_norm", true);
  }
  if (config.norm.weights == Presence::never) keys.boolean("layer_norm_elementwise_affine", false);
  if (config.ffn_bias == Presence::never) keys.boolean("enable_bias", false);
  if (config.activation != family_defaults(config.family).activation) {
    keys.string("activation_function", name(config.activation));
  }
}

void add_rotaries(const ArchitectureKeys& keys, const ModelConfig& config,
                  const std::string& file) {
  const RotaryConfig& rotary = config.rotaries.front();
  keys.number("rope.dimension_count", as_uint32(rotary.dimensions));
  keys.number("rope.freq_base", static_cast<float>(rotary.base));
  if (const auto* const linear = std::get_if<LinearScaling>(&rotary.scaling)) {
    keys.string("rope.scaling.type", "linear");
    keys.number("rope.scaling.factor", static_cast<float>(linear->factor));
  }
  if (const auto* const yarn = std::get_if<YarnScaling>(&rotary.scaling)) {
    add_scaling(keys, *yarn, file);
  }
  if (config.rotaries.size() == 1) return;
  const RotaryConfig& sliding = config.rotaries[1];
  if (!std::holds_alternative<NoScaling>(sliding.scaling)) {
    throw FileError(file, "rope_parameters.sliding_attention",
                    "a scaling found, which GGUF files of this architecture cannot say");
  }
  keys.number("rope.freq_base_swa", static_cast<float>(sliding.base));
}

/// llama.cpp has keys for YaRN's betas, but passes over them in most architectures.
void note_betas(const RotaryScaling& scaling, std::vector<std::string>& notes) {
  const auto* const yarn = std::get_if<YarnScaling>(&scaling);
  const YarnScaling usual;
  if (yarn == nullptr ||
      (yarn->beta_fast == usual.beta_fast && yarn->beta_slow == usual.beta_slow)) {
    return;
  }
  notes.push_back(fmt::format(
      "llama.cpp does not read YaRN's beta_fast and beta_slow from files of this architecture; it "
      "takes them as --yarn-beta-fast {:g} --yarn-beta-slow {:g}",
      yarn->beta_fast, yarn->beta_slow));
}

}  // namespace

void add_gguf_config(GgufHeader& header, const ModelConfig& config, const std::string& file,
                     std::vector<std::string>& notes) {
  const ArchitectureKeys keys(header, gguf_family(config.family).architecture);
  const bool opt = config.family == ModelFamily::opt;
  if (const Activation usual = family_defaults(config.family).activation;
      !opt && config.activation != usual) {
    throw FileError(file, "",
                    fmt::format("the activation is {}, GGUF files of this architecture can only "
                                "say {}",
                                name(config.activation), name(usual)));
  }
  add_windows(keys, config, file, notes);
  add_attention_scale(keys, config, file, notes);
  keys.number("block_count", as_uint32(config.layers));
  keys.number("context_length", as_uint32(config.context));
  keys.number("embedding_length", as_uint32(config.width));
  keys.number("feed_forward_length", as_uint32(config.ffn_width));
  keys.number("attention.head_count", as_uint32(config.heads));
  keys.number("attention.head_count_kv", as_uint32(config.kv_heads));
  keys.number(config.norm.kind == NormKind::layer ? "attention.layer_norm_epsilon"
                                                  : "attention.layer_norm_rms_epsilon",
              config.norm.epsilon);
  keys.number("vocab_size", as_uint32(config.vocabulary));
  if (config.query_width() != config.width) {
    keys.number("attention.key_length", as_uint32(config.head_dim));
    keys.number("attention.value_length", as_uint32(config.head_dim));
  }
  if (opt) add_opt(keys, config);
  if (config.rotaries.empty()) return;
  add_rotaries(keys, config, file);
  note_betas(config.rotaries.front().scaling, notes);
}

std::vector<float> gguf_rotary_divisors(const ModelConfig& config) {
  if (config.rotaries.empty()) return {};
  const RotaryConfig& rotary = config.rotaries.front();
  if (!std::holds_alternative<Llama3Scaling>(rotary.scaling)) return {};
  const std::vector<float> wanted = rotary_frequencies(rotary);
  RotaryConfig read_back = rotary;
  read_back.scaling = NoScaling{};
  std::vector<float> factors = rotary_frequencies(read_back);
  for (std::size_t i = 0; i < factors.size(); ++i) factors[i] /= wanted[i];
  std::vector<float> above = factors;
  std::vector<float> below = factors;
  const auto take_exact = [&](const std::vector<float>& candidates) {
    read_back.scaling = FrequencyFactors{factors};
    const std::vector<float> now = rotary_frequencies(read_back);
    read_back.scaling = FrequencyFactors{candidates};
    const std::vector<float> then = rotary_frequencies(read_back);
    for (std::size_t i = 0; i < factors.size(); ++i) {
      if (now[i] != wanted[i] && then[i] == wanted[i]) factors[i] = candidates[i];
    }
  };
  for (int distance = 1; distance <= 2; ++distance) {
    for (float& factor : above) factor = std::nextafter(factor, HUGE_VALF);
    for (float& factor : below) factor = std::nextafter(factor, 0.0F);
    take_exact(above);
    take_exact(below);
  }
  return factors;
}

}  // namespace fathom
