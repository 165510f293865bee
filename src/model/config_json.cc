// Configurations as Hugging Face transformers writes them. Where a field is left out, what counts
// is the default of the family's class in transformers, given here by family.

#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "model/config_checks.h"
#include "model/model_config.h"

namespace fathom {
namespace {

constexpr std::array families{
    FamilyName{"llama", ModelFamily::llama},     FamilyName{"mistral", ModelFamily::mistral},
    FamilyName{"qwen2", ModelFamily::qwen2},     FamilyName{"qwen3", ModelFamily::qwen3},
    FamilyName{"smollm3", ModelFamily::smollm3}, FamilyName{"gemma3_text", ModelFamily::gemma3},
    FamilyName{"opt", ModelFamily::opt},         FamilyName{"gpt2", ModelFamily::gpt2}};

Presence presence(bool present) { return present ? Presence::always : Presence::never; }

// ---- rotary position embeddings ----------------------------------------------------------------

Llama3Scaling llama3_of(const JsonFields& rope, const Place& place) {
  const auto positive = [&](std::string_view key) {
    return place.positive(key, rope.require_float(key));
  };
  const Llama3Scaling scaling{.factor = positive("factor"),
                              .low_frequency_factor = positive("low_freq_factor"),
                              .high_frequency_factor = positive("high_freq_factor"),
                              .original_context = positive("original_max_position_embeddings")};
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    rope.fail("high_freq_factor", "must be above low_freq_factor");
  }
  return scaling;
}

YarnScaling yarn_of(const JsonFields& rope, const Place& place, std::size_t context) {
  const double original = place.positive(
      "original_max_position_embeddings",
      rope.find_float("original_max_position_embeddings").value_or(static_cast<double>(context)));
  // Where no factor is stated it is how much the context has grown.
  const double factor = rope.find_float("factor").value_or(static_cast<double>(context) / original);
  YarnScaling yarn = yarn_of(place, "factor", place.positive("factor", factor), original);
  if (const auto beta = rope.find_float("beta_fast")) {
    yarn.beta_fast = place.positive("beta_fast", *beta);
  }
  if (const auto beta = rope.find_float("beta_slow")) {
    yarn.beta_slow = place.positive("beta_slow", *beta);
  }
  yarn.truncate = rope.find_bool("truncate").value_or(true);
  const auto mscale = rope.find_float("mscale");
  const auto mscale_all = rope.find_float("mscale_all_dim");
  if (const auto stated = rope.find_float("attention_factor")) {
    yarn.attention_factor = place.positive("attention_factor", *stated);
  } else if (mscale && mscale_all && *mscale != 0 && *mscale_all != 0) {
    const auto scaled = [&](double m) {
      return yarn.factor <= 1 ? 1.0 : 0.1 * m * std::log(yarn.factor) + 1.0;
    };
    yarn.attention_factor = scaled(*mscale) / scaled(*mscale_all);
  }
  return yarn;
}

RotaryScaling scaling_of(const JsonFields& rope, const Place& place, std::size_t context) {
  // "type" is what older files call "rope_type".
  const std::string* type = rope.find_string("rope_type");
  if (type == nullptr) type = rope.find_string("type");
  if (type == nullptr || *type == "default") return NoScaling{};
  // Dynamic scaling changes nothing up to max_position_embeddings, and fathom goes no further.
  if (*type == "dynamic") return NoScaling{};
  if (*type == "linear") {
    return LinearScaling{place.positive("factor", rope.require_float("factor"))};
  }
  if (*type == "llama3") return llama3_of(rope, place);
  if (*type == "yarn") return yarn_of(rope, place, context);
  rope.fail("rope_type", fmt::format("{} is not supported; default, linear, dynamic, llama3 and "
                                     "yarn are",
                                     printable_name(*type)));
}

// One rotation, from the object that describes it if there is one.
RotaryConfig rotary_of(const std::optional<JsonFields>& rope, double base,
                       const ModelConfig& config, const Place& place) {
  RotaryConfig rotary{.dimensions = config.head_dim, .base = base, .scaling = NoScaling{}};
  if (rope) {
    if (const auto inner = rope->find_float("rope_theta")) rotary.base = *inner;
    rotary.scaling = scaling_of(*rope, place, config.context);
    if (const auto part = rope->find_float("partial_rotary_factor"); part && *part != 1) {
      rope->fail("partial_rotary_factor", fmt::format("{} is not supported; 1 is", *part));
    }
  }
  rotary.base = place.positive("rope_theta", rotary.base);
  return rotary;
}

// Newer files keep all of the rotary embedding in rope_parameters; older ones have rope_theta
// beside rope_scaling.
RotaryConfig one_rotary(const JsonFields& json, double default_base, const ModelConfig& config,
                        const Place& place) {
  const auto newer = json.find_object("rope_parameters");
  return rotary_of(newer ? newer : json.find_object("rope_scaling"),
                   json.find_float("rope_theta").value_or(default_base), config, place);
}

// Gemma 3 has one rotation for layers that see everything, and then one for those that do not.
std::vector<RotaryConfig> gemma3_rotaries(const JsonFields& json, const ModelConfig& config,
                                          const Place& place) {
  std::optional<JsonFields> full = json.find_object("rope_scaling");
  std::optional<JsonFields> sliding;
  if (const auto newer = json.find_object("rope_parameters")) {
    full = newer->find_object("full_attention");
    sliding = newer->find_object("sliding_attention");
    if (!full && !sliding) {
      json.fail("rope_parameters", "full_attention and sliding_attention expected");
    }
  }
  return {rotary_of(full, json.find_float("rope_theta").value_or(1e6), config, place),
          rotary_of(sliding, json.find_float("rope_local_base_freq").value_or(1e4), config, place)};
}

// ---- which layers see how far ------------------------------------------------------------------

enum class LayerKind { full, sliding };

std::optional<std::vector<LayerKind>> stated_kinds(const JsonFields& json, std::size_t layers) {
  const auto names = json.find_strings("layer_types");
  if (!names) return std::nullopt;
  if (names->size() != layers) {
    json.fail("layer_types",
              fmt::format("{} found, one for each of {} layers expected", names->size(), layers));
  }
  std::vector<LayerKind> kinds;
  for (const std::string& name : *names) {
    if (name != "full_attention" && name != "sliding_attention") {
      json.fail("layer_types",
                fmt::format("{} is not supported; full_attention and sliding_attention are",
                            printable_name(name)));
    }
    kinds.push_back(name == "full_attention" ? LayerKind::full : LayerKind::sliding);
  }
  return kinds;
}

// `window` is looked at if a layer slides.
void set_windows(const std::vector<LayerKind>& kinds, std::optional<std::uint64_t> window,
                 const JsonFields& json, const Place& place, ModelConfig& config) {
  for (std::size_t l = 0; l < config.layers; ++l) {
    if (kinds[l] == LayerKind::full) continue;
    if (!window) {
      json.fail("sliding_window", fmt::format("missing, and layer {} of layer_types is a "
                                              "sliding_attention",
                                              l + 1));
    }
    config.attention[l].window = place.in_range("sliding_window", *window, most_context);
  }
}

// The window of families in which use_sliding_window has to allow one.
std::optional<std::uint64_t> allowed_window(const JsonFields& json,
                                            std::optional<std::uint64_t> fallback) {
  if (!json.find_bool("use_sliding_window").value_or(false)) return std::nullopt;
  if (const auto stated = json.find_unsigned("sliding_window")) return stated;
  return json.object().contains("sliding_window") ? std::nullopt : fallback;
}

void set_mistral_windows(const JsonFields& json, const Place& place, ModelConfig& config) {
  if (stated_kinds(json, config.layers)) {
    json.fail("layer_types", "not supported of mistral, whose layers are all alike");
  }
  // null says that there is none, nothing that there is the family's.
  std::optional<std::uint64_t> window = json.find_unsigned("sliding_window");
  if (!json.object().contains("sliding_window")) window = 4096;
  if (!window) return;
  set_windows(std::vector(config.layers, LayerKind::sliding), window, json, place, config);
}

void set_qwen_windows(const JsonFields& json, const Place& place, ModelConfig& config) {
  const auto window = allowed_window(json, 4096);
  auto kinds = stated_kinds(json, config.layers);
  if (!kinds) {
    const std::uint64_t full = json.find_unsigned("max_window_layers").value_or(28);
    kinds.emplace(config.layers, LayerKind::full);
    for (std::size_t l = full; window && l < config.layers; ++l) (*kinds)[l] = LayerKind::sliding;
  }
  set_windows(*kinds, window, json, place, config);
}

void set_smollm3_layers(const JsonFields& json, const Place& place, ModelConfig& config) {
  std::vector<bool> rotated(config.layers);
  if (const auto stated = json.find_one_or_more_unsigned("no_rope_layers", 1)) {
    if (stated->size() < config.layers) {
      json.fail("no_rope_layers", fmt::format("{} found, one for each of {} layers expected",
                                              stated->size(), config.layers));
    }
    for (std::size_t l = 0; l < config.layers; ++l) rotated[l] = (*stated)[l] == 1;
  } else {
    const std::size_t interval =
        place.in_range("no_rope_layer_interval",
                       json.find_unsigned("no_rope_layer_interval").value_or(4), most_layers);
    for (std::size_t l = 0; l < config.layers; ++l) rotated[l] = (l + 1) % interval != 0;
  }
  for (std::size_t l = 0; l < config.layers; ++l) {
    if (!rotated[l]) config.attention[l].rotary.reset();
  }
  const auto window = allowed_window(json, std::nullopt);
  auto kinds = stated_kinds(json, config.layers);
  if (!kinds) {
    kinds.emplace(config.layers, LayerKind::full);
    for (std::size_t l = 0; window && l < config.layers; ++l) {
      if (!rotated[l]) (*kinds)[l] = LayerKind::sliding;
    }
  }
  set_windows(*kinds, window, json, place, config);
}

void set_gemma3_layers(const JsonFields& json, const Place& place, ModelConfig& config) {
  auto kinds = stated_kinds(json, config.layers);
  if (!kinds) {
    const std::size_t pattern =
        place.in_range("sliding_window_pattern",
                       json.find_unsigned("sliding_window_pattern").value_or(6), most_layers);
    kinds.emplace(config.layers, LayerKind::sliding);
    for (std::size_t l = pattern - 1; l < config.layers; l += pattern) {
      (*kinds)[l] = LayerKind::full;
    }
  }
  set_windows(*kinds, json.find_unsigned("sliding_window").value_or(4096), json, place, config);
  const double scalar = place.positive("query_pre_attn_scalar",
                                       json.find_float("query_pre_attn_scalar").value_or(256));
  for (LayerAttention& attention : config.attention) {
    attention.scale = static_cast<float>(1 / std::sqrt(scalar));
    if (attention.window) attention.rotary = 1;
  }
}

// ---- families ----------------------------------------------------------------------------------

// What can be left out of a file of a family with gates. No default: the file must have it.
struct GatedDefaults {
  double rotary_base = 1e4;
  bool tied_head = false;
  std::optional<std::size_t> head_dim;  // else the width over the heads
  std::uint64_t context;
};

GatedDefaults gated_defaults(ModelFamily family) {
  switch (family) {
    case ModelFamily::mistral:
      return {.head_dim = std::nullopt, .context = 131072};
    case ModelFamily::qwen2:
      return {.head_dim = std::nullopt, .context = 32768};
    case ModelFamily::qwen3:
      return {.head_dim = 128, .context = 32768};
    case ModelFamily::smollm3:
      return {.rotary_base = 2e6, .tied_head = true, .head_dim = std::nullopt, .context = 32768};
    case ModelFamily::gemma3:
      return {.tied_head = true, .head_dim = 256, .context = 131072};
    default:
      return {.head_dim = std::nullopt, .context = 2048};
  }
}

void read_biases(const JsonFields& json, ModelConfig& config) {
  const Presence attention = presence(json.find_bool("attention_bias").value_or(false));
  switch (config.family) {
    case ModelFamily::llama:
    case ModelFamily::smollm3:
      config.ffn_bias = presence(json.find_bool("mlp_bias").value_or(false));
      config.query_key_value_bias = config.attention_output_bias = attention;
      return;
    case ModelFamily::qwen3:
    case ModelFamily::gemma3:
      config.query_key_value_bias = config.attention_output_bias = attention;
      return;
    case ModelFamily::mistral:
      config.query_key_value_bias = config.attention_output_bias = config.ffn_bias =
          Presence::never;
      return;
    default:
      return;
  }
}

void read_gemma3_fields(const JsonFields& json, ModelConfig& config) {
  for (const char* const key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (const auto cap = json.find_float(key)) {
      json.fail(key, fmt::format("{} is not supported; null is", *cap));
    }
  }
  if (json.find_bool("use_bidirectional_attention").value_or(false)) {
    json.fail("use_bidirectional_attention", "true is not supported; false is");
  }
  config.norm.weight_offset = 1;
  config.embedding_scale = std::sqrt(static_cast<float>(config.width));
}

ModelConfig read_gated(const JsonFields& json, const Place& place, ModelConfig config) {
  const GatedDefaults defaults = gated_defaults(config.family);
  const auto number = [&](std::string_view key, std::uint64_t most) {
    return place.in_range(key, json.require_unsigned(key), most);
  };
  const KeyNames keys{.heads = "num_attention_heads",
                      .kv_heads = "num_key_value_heads",
                      .head_dim = "head_dim",
                      .rotary_dimensions = "partial_rotary_factor",
                      .epsilon = "rms_norm_eps"};
  config.layers = number("num_hidden_layers", most_layers);
  config.width = config.embedding_width = number("hidden_size", most_width);
  config.ffn_width = number("intermediate_size", most_width);
  config.vocabulary = number("vocab_size", most_context);
  config.heads = number(keys.heads, most_width);
  // Elsewhere than in Llama the default is a number that fits one model.
  config.kv_heads =
      config.family == ModelFamily::llama
          ? place.in_range(keys.kv_heads, json.find_unsigned(keys.kv_heads).value_or(config.heads),
                           most_width)
          : number(keys.kv_heads, most_width);
  config.context = place.in_range(
      "max_position_embeddings",
      json.find_unsigned("max_position_embeddings").value_or(defaults.context), most_context);
  std::optional<std::uint64_t> head_dim = json.find_unsigned(keys.head_dim);
  if (!head_dim && defaults.head_dim) head_dim = defaults.head_dim;
  if (!head_dim && config.width % config.heads != 0) {
    json.fail(keys.heads,
              fmt::format("{} heads do not divide a width of {}", config.heads, config.width));
  }
  config.head_dim =
      place.in_range(keys.head_dim, head_dim.value_or(config.width / config.heads), most_width);
  config.norm.epsilon = static_cast<float>(json.find_float(keys.epsilon).value_or(1e-6));
  config.tied_head = json.find_bool("tie_word_embeddings").value_or(defaults.tied_head);
  const bool gemma = config.family == ModelFamily::gemma3;
  const std::string_view activation_key = gemma ? "hidden_activation" : "hidden_act";
  if (const std::string* const activation = json.find_string(activation_key)) {
    config.activation = find_activation(*activation, activation_key, place);
  }
  if (const auto part = json.find_float(keys.rotary_dimensions); part && *part != 1) {
    json.fail(keys.rotary_dimensions, fmt::format("{} is not supported; 1 is", *part));
  }
  read_biases(json, config);
  config.rotaries = gemma ? gemma3_rotaries(json, config, place)
                          : std::vector{one_rotary(json, defaults.rotary_base, config, place)};
  check_shapes(config, place, keys);
  set_full_attention(config);
  switch (config.family) {
    case ModelFamily::mistral:
      set_mistral_windows(json, place, config);
      break;
    case ModelFamily::qwen2:
    case ModelFamily::qwen3:
      set_qwen_windows(json, place, config);
      break;
    case ModelFamily::smollm3:
      set_smollm3_layers(json, place, config);
      break;
    case ModelFamily::gemma3:
      read_gemma3_fields(json, config);
      set_gemma3_layers(json, place, config);
      break;
    default:
      break;
  }
  return config;
}

// The widths of heads that share the model's among them, without key/value heads of their own.
void share_width_among_heads(ModelConfig& config, const Place& place, const KeyNames& keys) {
  if (config.width % config.heads != 0) {
    place.fail(keys.heads,
               fmt::format("{} heads do not divide a width of {}", config.heads, config.width));
  }
  config.kv_heads = config.heads;
  config.head_dim = config.width / config.heads;
}

ModelConfig read_opt(const JsonFields& json, const Place& place, ModelConfig config) {
  const auto number = [&](std::string_view key, std::uint64_t most) {
    return place.in_range(key, json.require_unsigned(key), most);
  };
  const KeyNames keys{.heads = "num_attention_heads",
                      .kv_heads = {},
                      .head_dim = {},
                      .rotary_dimensions = {},
                      .epsilon = {}};
  config.layers = number("num_hidden_layers", most_layers);
  config.width = number("hidden_size", most_width);
  config.ffn_width = number("ffn_dim", most_width);
  config.vocabulary = number("vocab_size", most_context);
  config.heads = number(keys.heads, most_width);
  config.context = number("max_position_embeddings", most_context);
  config.embedding_width =
      place.in_range("word_embed_proj_dim",
                     json.find_unsigned("word_embed_proj_dim").value_or(config.width), most_width);
  share_width_among_heads(config, place, keys);
  config.tied_head = json.find_bool("tie_word_embeddings").value_or(true);
  if (const std::string* const activation = json.find_string("activation_function")) {
    config.activation = find_activation(*activation, "activation_function", place);
  }
  const bool norms_before = json.find_bool("do_layer_norm_before").value_or(true);
  config.norm.placement = norms_before ? NormPlacement::before : NormPlacement::after;
  config.norm.final_norm =
      presence(norms_before && !json.find_bool("_remove_final_layer_norm").value_or(false));
  config.norm.weights = presence(json.find_bool("layer_norm_elementwise_affine").value_or(true));
  config.query_key_value_bias = config.attention_output_bias = config.ffn_bias =
      presence(json.find_bool("enable_bias").value_or(true));
  check_shapes(config, place, keys);
  set_full_attention(config);
  return config;
}

ModelConfig read_gpt2(const JsonFields& json, const Place& place, ModelConfig config) {
  const auto number = [&](std::string_view key, std::uint64_t most) {
    return place.in_range(key, json.require_unsigned(key), most);
  };
  const KeyNames keys{.heads = "n_head",
                      .kv_heads = {},
                      .head_dim = {},
                      .rotary_dimensions = {},
                      .epsilon = "layer_norm_epsilon"};
  config.layers = number("n_layer", most_layers);
  config.width = config.embedding_width = number("n_embd", most_width);
  config.heads = number(keys.heads, most_width);
  config.context = number("n_positions", most_context);
  config.vocabulary = number("vocab_size", most_context);
  config.ffn_width = place.in_range(
      "n_inner", json.find_unsigned("n_inner").value_or(4 * config.width), most_width);
  share_width_among_heads(config, place, keys);
  config.norm.epsilon = static_cast<float>(json.find_float(keys.epsilon).value_or(1e-5));
  config.tied_head = json.find_bool("tie_word_embeddings").value_or(true);
  if (const std::string* const activation = json.find_string("activation_function")) {
    config.activation = find_activation(*activation, "activation_function", place);
  }
  if (json.find_bool("add_cross_attention").value_or(false)) {
    json.fail("add_cross_attention", "true is not supported; false is");
  }
  check_shapes(config, place, keys);
  set_full_attention(config);
  const bool scaled = json.find_bool("scale_attn_weights").value_or(true);
  const bool by_layer = json.find_bool("scale_attn_by_inverse_layer_idx").value_or(false);
  for (std::size_t l = 0; l < config.layers; ++l) {
    if (!scaled) config.attention[l].scale = 1;
    if (by_layer) config.attention[l].scale /= static_cast<float>(l + 1);
  }
  return config;
}

}  // namespace

ModelConfig read_config(const JsonFields& json) {
  const Place place(json.file());
  if (json.object().contains("quantization_config")) {
    json.fail("quantization_config", "quantised folders are not supported; use a GGUF file");
  }
  const ModelFamily family =
      find_family(families, json.require_string("model_type"), "model_type", place);
  ModelConfig config = family_defaults(family);
  switch (family) {
    case ModelFamily::opt:
      return read_opt(json, place, std::move(config));
    case ModelFamily::gpt2:
      return read_gpt2(json, place, std::move(config));
    default:
      return read_gated(json, place, std::move(config));
  }
}

}  // namespace fathom
