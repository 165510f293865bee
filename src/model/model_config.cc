#include "model/model_config.h"

#include <array>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "formats/printable.h"
#include "model/config_checks.h"

namespace fathom {

std::string_view name(ModelFamily family) {
  switch (family) {
    case ModelFamily::llama:
      return "llama";
    case ModelFamily::mistral:
      return "mistral";
    case ModelFamily::qwen2:
      return "qwen2";
    case ModelFamily::qwen3:
      return "qwen3";
    case ModelFamily::smollm3:
      return "smollm3";
    case ModelFamily::gemma3:
      return "gemma3";
    case ModelFamily::opt:
      return "opt";
    case ModelFamily::gpt2:
      return "gpt2";
  }
  return "";
}

void Place::fail(std::string_view key, std::string_view problem) const {
  throw FileError(file_, key, problem);
}

std::size_t Place::in_range(std::string_view key, std::uint64_t value, std::uint64_t most) const {
  if (value < 1 || value > most) fail(key, fmt::format("{} found, 1 to {} expected", value, most));
  return static_cast<std::size_t>(value);
}

double Place::positive(std::string_view key, double value) const {
  if (!std::isfinite(value) || value <= 0) {
    fail(key, fmt::format("{} found, a positive number expected", value));
  }
  return value;
}

namespace {

// The entry of that name; an error that lists all names if there is none.
template <class Entries>
const auto& find_named(const Entries& known, std::string_view name, std::string_view key,
                       const Place& place) {
  std::vector<std::string_view> names;
  for (const auto& candidate : known) {
    if (candidate.name == name) return candidate;
    names.push_back(candidate.name);
  }
  place.fail(key, fmt::format("{} is not supported; {} are", printable_name(name),
                              fmt::join(names, ", ")));
}

struct NamedActivation {
  std::string_view name;
  Activation activation;
};
// gelu_fast is the same formula written in another way.
constexpr std::array activations{NamedActivation{"silu", Activation::silu},
                                 NamedActivation{"swish", Activation::silu},
                                 NamedActivation{"relu", Activation::relu},
                                 NamedActivation{"gelu", Activation::gelu},
                                 NamedActivation{"gelu_new", Activation::gelu_tanh},
                                 NamedActivation{"gelu_pytorch_tanh", Activation::gelu_tanh},
                                 NamedActivation{"gelu_fast", Activation::gelu_tanh}};

}  // namespace

ModelFamily find_family(std::span<const FamilyName> known, std::string_view name,
                        std::string_view key, const Place& place) {
  return find_named(known, name, key, place).family;
}

Activation find_activation(std::string_view name, std::string_view key, const Place& place) {
  return find_named(activations, name, key, place).activation;
}

std::string_view name(Activation activation) {
  for (const NamedActivation& known : activations) {
    if (known.activation == activation) return known.name;
  }
  return "";
}

ModelConfig family_defaults(ModelFamily family) {
  ModelConfig config;
  config.family = family;
  switch (family) {
    case ModelFamily::llama:
    case ModelFamily::mistral:
    case ModelFamily::smollm3:
      break;
    case ModelFamily::qwen2:
      config.query_key_value_bias = Presence::always;
      config.attention_output_bias = Presence::never;
      config.ffn_bias = Presence::never;
      break;
    case ModelFamily::qwen3:
      config.norm.head_norms = Presence::always;
      config.ffn_bias = Presence::never;
      break;
    case ModelFamily::gemma3:
      config.norm.placement = NormPlacement::around;
      config.norm.head_norms = Presence::always;
      config.activation = Activation::gelu_tanh;
      config.ffn_bias = Presence::never;
      break;
    case ModelFamily::opt:
      config.norm.kind = NormKind::layer;
      config.activation = Activation::relu;
      config.gated = false;
      // The first two rows were those of padding.
      config.learned_positions = 2;
      break;
    case ModelFamily::gpt2:
      config.norm.kind = NormKind::layer;
      config.activation = Activation::gelu_tanh;
      config.gated = false;
      config.learned_positions = 0;
      config.query_key_value_bias = Presence::always;
      config.attention_output_bias = Presence::always;
      config.ffn_bias = Presence::always;
      break;
  }
  return config;
}

void set_full_attention(ModelConfig& config) {
  LayerAttention attention{.scale = 1.0F / std::sqrt(static_cast<float>(config.head_dim)),
                           .window = std::nullopt,
                           .rotary = std::nullopt};
  if (!config.rotaries.empty()) attention.rotary = 0;
  config.attention.assign(config.layers, attention);
}

void check_shapes(const ModelConfig& config, const Place& place, const KeyNames& keys) {
  if (config.heads % config.kv_heads != 0) {
    place.fail(keys.kv_heads, fmt::format("{} key/value heads do not divide {} heads",
                                          config.kv_heads, config.heads));
  }
  if (config.query_width() > most_width) {
    place.fail(keys.heads,
               fmt::format("{} heads of {} are too wide", config.heads, config.head_dim));
  }
  for (const RotaryConfig& rotary : config.rotaries) {
    if (config.head_dim % 2 != 0) {
      place.fail(keys.head_dim, fmt::format("{} found, an even number expected", config.head_dim));
    }
    if (rotary.dimensions != config.head_dim) {
      place.fail(keys.rotary_dimensions,
                 fmt::format("{} found; only rotation of the whole head ({}) is supported",
                             rotary.dimensions, config.head_dim));
    }
  }
  if (!(config.norm.epsilon > 0) || config.norm.epsilon >= 1) {
    place.fail(keys.epsilon,
               fmt::format("{} found, a number between 0 and 1 expected", config.norm.epsilon));
  }
}

YarnScaling yarn_of(const Place& place, std::string_view key, double factor, double original) {
  if (factor < 1) place.fail(key, fmt::format("{} found, at least 1 expected", factor));
  return {.factor = factor,
          .original_context = original,
          .attention_factor = yarn_attention_factor(factor)};
}

}  // namespace fathom
