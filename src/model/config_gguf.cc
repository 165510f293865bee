// Configurations in the metadata of GGUF files: the keys of llama.cpp's architectures, and fathom's
// own for OPT (docs/formats.md).

#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/dequantize.h"
#include "formats/printable.h"
#include "model/config_checks.h"
#include "model/model_config.h"

namespace fathom {
namespace {

// Mistral's files say llama.
constexpr std::array families{
    FamilyName{"llama", ModelFamily::llama},   FamilyName{"qwen2", ModelFamily::qwen2},
    FamilyName{"qwen3", ModelFamily::qwen3},   FamilyName{"smollm3", ModelFamily::smollm3},
    FamilyName{"gemma3", ModelFamily::gemma3}, FamilyName{"opt", ModelFamily::opt},
    FamilyName{"gpt2", ModelFamily::gpt2}};

/// The keys of one architecture: all begin with its name.
class Keys {
 public:
  Keys(const GgufFile& file, const Place& place, std::string architecture)
      : file_(file), place_(place), architecture_(std::move(architecture)) {}

  [[nodiscard]] std::string name(std::string_view key) const {
    return fmt::format("{}.{}", architecture_, key);
  }
  [[nodiscard]] std::size_t number(std::string_view key, std::uint64_t most) const {
    return place_.in_range(name(key), file_.require_unsigned(name(key)), most);
  }
  [[nodiscard]] std::size_t number_or(std::string_view key, std::uint64_t fallback,
                                      std::uint64_t most) const {
    return place_.in_range(name(key), file_.find_unsigned(name(key)).value_or(fallback), most);
  }
  [[nodiscard]] std::optional<double> positive(std::string_view key) const {
    const auto value = file_.find_float(name(key));
    if (value) (void)place_.positive(name(key), *value);
    return value;
  }
  [[nodiscard]] bool flag_or(std::string_view key, bool fallback) const {
    return file_.find_bool(name(key)).value_or(fallback);
  }
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const {
    place_.fail(name(key), problem);
  }
  [[nodiscard]] const GgufFile& file() const { return file_; }
  [[nodiscard]] const Place& place() const { return place_; }

 private:
  const GgufFile& file_;
  const Place& place_;
  std::string architecture_;
};

RotaryScaling read_scaling(const Keys& keys, const ModelConfig& config, std::size_t dimensions) {
  const GgufFile& file = keys.file();
  if (const TensorView* const factors = file.tensors().find("rope_freqs.weight")) {
    const std::array<std::size_t, 1> shape{dimensions / 2};
    (void)file.tensors().require("rope_freqs.weight", shape);
    FrequencyFactors result{std::vector<float>(shape[0])};
    dequantize(factors->type, factors->bytes, result.factors);
    for (const float f : result.factors) keys.place().positive("tensor 'rope_freqs.weight'", f);
    return result;
  }
  const std::string* const type = file.find_string(keys.name("rope.scaling.type"));
  if (type == nullptr || *type == "none") return NoScaling{};
  if (*type != "linear" && *type != "yarn") {
    keys.fail("rope.scaling.type",
              fmt::format("{} is not supported; none, linear and yarn are", printable_name(*type)));
  }
  const std::string factor_key = keys.name("rope.scaling.factor");
  const double factor = keys.place().positive(factor_key, file.require_float(factor_key));
  if (*type == "linear") return LinearScaling{factor};
  const auto original = static_cast<double>(
      keys.number_or("rope.scaling.original_context_length", config.context, most_context));
  YarnScaling yarn = yarn_of(keys.place(), factor_key, factor, original);
  if (const auto stated = keys.positive("rope.scaling.attn_factor")) {
    yarn.attention_factor *= *stated;
  }
  if (const auto beta = keys.positive("rope.scaling.yarn_beta_fast")) yarn.beta_fast = *beta;
  if (const auto beta = keys.positive("rope.scaling.yarn_beta_slow")) yarn.beta_slow = *beta;
  return yarn;
}

std::vector<RotaryConfig> read_rotaries(const Keys& keys, const ModelConfig& config) {
  RotaryConfig rotary{
      .dimensions = keys.number_or("rope.dimension_count", config.head_dim, most_width),
      .base = keys.positive("rope.freq_base").value_or(1e4),
      .scaling = NoScaling{}};
  if (rotary.dimensions % 2 != 0) {
    keys.fail("rope.dimension_count",
              fmt::format("{} found, an even number expected", rotary.dimensions));
  }
  rotary.scaling = read_scaling(keys, config, rotary.dimensions);
  if (config.family != ModelFamily::gemma3) return {rotary};
  // Layers that slide have a rotation of their own, never scaled.
  const RotaryConfig sliding{.dimensions = rotary.dimensions,
                             .base = keys.positive("rope.freq_base_swa").value_or(1e4),
                             .scaling = NoScaling{}};
  return {rotary, sliding};
}

// Which layers slide: those whose number is no multiple of the pattern, or one flag a layer.
std::vector<bool> sliding_layers(const Keys& keys, const ModelConfig& config) {
  const std::string key = keys.name("attention.sliding_window_pattern");
  const auto stated = keys.file().metadata().find(key);
  if (stated != keys.file().metadata().end()) {
    if (const auto* const flags = std::get_if<std::vector<bool>>(&stated->second)) {
      if (flags->size() != config.layers) {
        keys.place().fail(key, fmt::format("{} found, one for each of {} layers expected",
                                           flags->size(), config.layers));
      }
      return *flags;
    }
  }
  // 0 says that all layers slide, which is what most families have.
  const std::uint64_t fallback = config.family == ModelFamily::gemma3 ? 6 : 0;
  const std::uint64_t pattern = keys.file().find_unsigned(key).value_or(fallback);
  std::vector<bool> slides(config.layers, true);
  for (std::size_t l = 0; pattern != 0 && l < config.layers; ++l) {
    slides[l] = (l + 1) % pattern != 0;
  }
  return slides;
}

void read_windows(const Keys& keys, ModelConfig& config) {
  const std::uint64_t window =
      keys.file().find_unsigned(keys.name("attention.sliding_window")).value_or(0);
  if (window == 0) {
    if (config.family == ModelFamily::gemma3) {
      keys.fail("attention.sliding_window", "missing or 0, a number of positions expected");
    }
    return;
  }
  const std::vector<bool> slides = sliding_layers(keys, config);
  for (std::size_t l = 0; l < config.layers; ++l) {
    if (!slides[l]) continue;
    config.attention[l].window =
        keys.place().in_range(keys.name("attention.sliding_window"), window, most_context);
    if (config.rotaries.size() > 1) config.attention[l].rotary = 1;
  }
}

void read_attention_scale(const Keys& keys, ModelConfig& config) {
  std::optional<double> scale = keys.positive("attention.scale");
  // Gemma 3 27B divides by another number than the others, which no key says. It is known by its
  // depth, as in llama.cpp.
  constexpr std::size_t layers_of_27b = 62;
  if (!scale && config.family == ModelFamily::gemma3 && config.layers == layers_of_27b) {
    scale = 1 / std::sqrt(static_cast<double>(config.width / config.heads));
  }
  if (!scale) return;
  for (LayerAttention& attention : config.attention) attention.scale = static_cast<float>(*scale);
}

// Features of other models of these architectures.
void refuse_unsupported(const Keys& keys) {
  if (keys.file().find_unsigned(keys.name("expert_count")).value_or(0) != 0) {
    keys.fail("expert_count", "mixtures of experts are not supported");
  }
  for (const char* const key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (const auto cap = keys.file().find_float(keys.name(key)); cap && *cap != 0) {
      keys.fail(key, fmt::format("{} is not supported; 0 is", *cap));
    }
  }
  if (!keys.flag_or("attention.causal", true)) {
    keys.fail("attention.causal", "false is not supported; true is");
  }
}

// The fields that all architectures have.
void read_shapes(const Keys& keys, ModelConfig& config) {
  config.layers = keys.number("block_count", most_layers);
  config.width = config.embedding_width = keys.number("embedding_length", most_width);
  config.ffn_width = keys.number("feed_forward_length", most_width);
  config.heads = keys.number("attention.head_count", most_width);
  config.kv_heads = keys.number_or("attention.head_count_kv", config.heads, most_width);
  config.context = keys.number("context_length", most_context);
  if (!keys.file().find_unsigned(keys.name("attention.key_length")) &&
      config.width % config.heads != 0) {
    keys.fail("attention.head_count",
              fmt::format("{} heads do not divide a width of {}", config.heads, config.width));
  }
  config.head_dim = keys.number_or("attention.key_length", config.width / config.heads, most_width);
  if (keys.number_or("attention.value_length", config.head_dim, most_width) != config.head_dim) {
    keys.fail("attention.value_length",
              fmt::format("values must be as long as keys ({})", config.head_dim));
  }
  const TensorSource& tensors = keys.file().tensors();
  const TensorView* const embedding = tensors.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    keys.place().fail("tensor 'token_embd.weight'", "missing, or no matrix");
  }
  config.vocabulary =
      keys.place().in_range("tensor 'token_embd.weight'", embedding->shape[0], most_context);
  config.tied_head = tensors.find("output.weight") == nullptr;
}

void read_opt(const Keys& keys, ModelConfig& config) {
  const auto presence = [](bool present) { return present ? Presence::always : Presence::never; };
  config.embedding_width = keys.number_or("word_embed_proj_dim", config.width, most_width);
  const bool norms_before = keys.flag_or("do_layer_norm_before", true);
  config.norm.placement = norms_before ? NormPlacement::before : NormPlacement::after;
  config.norm.final_norm =
      presence(norms_before && !keys.flag_or("remove_final_layer_norm", false));
  config.norm.weights = presence(keys.flag_or("layer_norm_elementwise_affine", true));
  config.query_key_value_bias = config.attention_output_bias = config.ffn_bias =
      presence(keys.flag_or("enable_bias", true));
  const std::string activation_key = keys.name("activation_function");
  if (const std::string* const activation = keys.file().find_string(activation_key)) {
    config.activation = find_activation(*activation, activation_key, keys.place());
  }
}

}  // namespace

ModelConfig read_config(const GgufFile& file) {
  const Place place(file.path());
  const std::string& architecture = file.require_string("general.architecture");
  const ModelFamily family = find_family(families, architecture, "general.architecture", place);
  const Keys keys(file, place, architecture);
  refuse_unsupported(keys);
  ModelConfig config = family_defaults(family);
  read_shapes(keys, config);
  const std::string epsilon_key =
      keys.name(config.norm.kind == NormKind::layer ? "attention.layer_norm_epsilon"
                                                    : "attention.layer_norm_rms_epsilon");
  config.norm.epsilon = static_cast<float>(file.require_float(epsilon_key));
  if (family == ModelFamily::opt) read_opt(keys, config);
  if (!config.learned_positions) config.rotaries = read_rotaries(keys, config);
  if (family == ModelFamily::llama || family == ModelFamily::smollm3) {
    config.pairing = RotaryPairing::interleaved;
  }
  if (family == ModelFamily::gemma3) {
    config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  }
  check_shapes(config, place,
               {.heads = keys.name("attention.head_count"),
                .kv_heads = keys.name("attention.head_count_kv"),
                .head_dim = keys.name("attention.key_length"),
                .rotary_dimensions = keys.name("rope.dimension_count"),
                .epsilon = epsilon_key});
  set_full_attention(config);
  if (family == ModelFamily::smollm3) {
    // Every fourth layer: no key says so, all files are alike.
    for (std::size_t l = 3; l < config.layers; l += 4) config.attention[l].rotary.reset();
  }
  read_windows(keys, config);
  read_attention_scale(keys, config);
  return config;
}

}  // namespace fathom
