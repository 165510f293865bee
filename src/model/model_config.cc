#include "model/model_config.h"

#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/dequantize.h"
#include "formats/printable.h"

namespace fathom {
namespace {

// Far above any model; keeps every product of two or three of these numbers inside 64 bits.
constexpr std::uint64_t most_layers = 4096;
constexpr std::uint64_t most_width = std::uint64_t{1} << 20;
constexpr std::uint64_t most_context = std::uint64_t{1} << 30;

// Where a number stands: fails with the file and key it was read from.
class Place {
 public:
  explicit Place(std::string file) : file_(std::move(file)) {}
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const {
    throw FileError(file_, key, problem);
  }
  std::size_t in_range(std::string_view key, std::uint64_t value, std::uint64_t most) const {
    if (value < 1 || value > most) {
      fail(key, fmt::format("{} found, 1 to {} expected", value, most));
    }
    return static_cast<std::size_t>(value);
  }
  double positive(std::string_view key, double value) const {
    if (!std::isfinite(value) || value <= 0) {
      fail(key, fmt::format("{} found, a positive number expected", value));
    }
    return value;
  }

 private:
  std::string file_;
};

// Key names, which differ between the two kinds of file, for messages.
struct KeyNames {
  std::string heads, kv_heads, head_dim, rotary_dimensions, epsilon;
};

void check_shapes(const ModelConfig& config, const Place& place, const KeyNames& keys) {
  if (config.heads % config.kv_heads != 0) {
    place.fail(keys.kv_heads, fmt::format("{} key/value heads do not divide {} heads",
                                          config.kv_heads, config.heads));
  }
  if (config.head_dim % 2 != 0) {
    place.fail(keys.head_dim, fmt::format("{} found, an even number expected", config.head_dim));
  }
  if (config.query_width() > most_width) {
    place.fail(keys.heads,
               fmt::format("{} heads of {} are too wide", config.heads, config.head_dim));
  }
  if (config.rotary.dimensions != config.head_dim) {
    place.fail(keys.rotary_dimensions,
               fmt::format("{} found; only rotation of the whole head ({}) is supported",
                           config.rotary.dimensions, config.head_dim));
  }
  if (!(config.norm_epsilon > 0) || config.norm_epsilon >= 1) {
    place.fail(keys.epsilon,
               fmt::format("{} found, a number between 0 and 1 expected", config.norm_epsilon));
  }
}

// ---- GGUF ---------------------------------------------------------------------------------------

YarnScaling yarn_of(const Place& place, std::string_view key, double factor, double original) {
  if (factor < 1) place.fail(key, fmt::format("{} found, at least 1 expected", factor));
  return {.factor = factor,
          .original_context = original,
          .attention_factor = yarn_attention_factor(factor)};
}

RotaryScaling gguf_scaling(const GgufFile& file, const ModelConfig& config, const Place& place) {
  if (const TensorView* const factors = file.tensors().find("rope_freqs.weight")) {
    const std::array<std::size_t, 1> shape{config.rotary.dimensions / 2};
    (void)file.tensors().require("rope_freqs.weight", shape);
    FrequencyFactors result{std::vector<float>(shape[0])};
    dequantize(factors->type, factors->bytes, result.factors);
    for (const float f : result.factors) place.positive("tensor 'rope_freqs.weight'", f);
    return result;
  }
  const std::string* const type = file.find_string("llama.rope.scaling.type");
  if (type == nullptr || *type == "none") return NoScaling{};
  if (*type != "linear" && *type != "yarn") {
    place.fail(
        "llama.rope.scaling.type",
        fmt::format("{} is not supported; none, linear and yarn are", printable_name(*type)));
  }
  const std::string factor_key = "llama.rope.scaling.factor";
  const double factor = place.positive(factor_key, file.require_float(factor_key));
  if (*type == "linear") return LinearScaling{factor};
  const std::string original_key = "llama.rope.scaling.original_context_length";
  const double original = static_cast<double>(place.in_range(
      original_key, file.find_unsigned(original_key).value_or(config.context), most_context));
  YarnScaling yarn = yarn_of(place, factor_key, factor, original);
  const std::string attention_key = "llama.rope.scaling.attn_factor";
  if (const auto stated = file.find_float(attention_key)) {
    yarn.attention_factor *= place.positive(attention_key, *stated);
  }
  const auto read_beta = [&](const std::string& key, double& beta) {
    if (const auto stated = file.find_float(key)) beta = place.positive(key, *stated);
  };
  read_beta("llama.rope.scaling.yarn_beta_fast", yarn.beta_fast);
  read_beta("llama.rope.scaling.yarn_beta_slow", yarn.beta_slow);
  return yarn;
}

// ---- Hugging Face -------------------------------------------------------------------------------

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

RotaryScaling json_scaling(const JsonFields& rope, const Place& place, std::size_t context) {
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

}  // namespace

std::string_view name(ModelFamily family) {
  switch (family) {
    case ModelFamily::llama:
      return "llama";
  }
  return "";
}

ModelConfig read_config(const GgufFile& file) {
  const Place place(file.path());
  const std::string& architecture = file.require_string("general.architecture");
  if (architecture != "llama") {
    place.fail("general.architecture",
               fmt::format("{} is not supported; llama is", printable_name(architecture)));
  }
  const auto number = [&](const std::string& key, std::uint64_t most) {
    return place.in_range(key, file.require_unsigned(key), most);
  };
  const auto number_or = [&](const std::string& key, std::uint64_t fallback, std::uint64_t most) {
    return place.in_range(key, file.find_unsigned(key).value_or(fallback), most);
  };
  const KeyNames keys{.heads = "llama.attention.head_count",
                      .kv_heads = "llama.attention.head_count_kv",
                      .head_dim = "llama.attention.key_length",
                      .rotary_dimensions = "llama.rope.dimension_count",
                      .epsilon = "llama.attention.layer_norm_rms_epsilon"};
  ModelConfig config;
  if (file.find_unsigned("llama.expert_count").value_or(0) != 0) {
    place.fail("llama.expert_count", "mixtures of experts are not supported");
  }
  config.layers = number("llama.block_count", most_layers);
  config.width = number("llama.embedding_length", most_width);
  config.ffn_width = number("llama.feed_forward_length", most_width);
  config.heads = number(keys.heads, most_width);
  config.kv_heads = number_or(keys.kv_heads, config.heads, most_width);
  config.context = number("llama.context_length", most_context);
  if (!file.find_unsigned(keys.head_dim) && config.width % config.heads != 0) {
    place.fail(keys.heads,
               fmt::format("{} heads do not divide a width of {}", config.heads, config.width));
  }
  config.head_dim = number_or(keys.head_dim, config.width / config.heads, most_width);
  const std::string value_key = "llama.attention.value_length";
  if (number_or(value_key, config.head_dim, most_width) != config.head_dim) {
    place.fail(value_key, fmt::format("values must be as long as keys ({})", config.head_dim));
  }
  config.norm_epsilon = static_cast<float>(file.require_float(keys.epsilon));
  config.pairing = RotaryPairing::interleaved;
  config.rotary.dimensions = number_or(keys.rotary_dimensions, config.head_dim, most_width);
  config.rotary.base =
      place.positive("llama.rope.freq_base", file.find_float("llama.rope.freq_base").value_or(1e4));
  check_shapes(config, place, keys);
  const TensorView* const embedding = file.tensors().find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    place.fail("tensor 'token_embd.weight'", "missing, or no matrix");
  }
  config.vocabulary = embedding->shape[0];
  config.tied_head = file.tensors().find("output.weight") == nullptr;
  config.rotary.scaling = gguf_scaling(file, config, place);
  return config;
}

ModelConfig read_config(const JsonFields& json) {
  const Place place(json.file());
  const std::string& type = json.require_string("model_type");
  if (type != "llama")
    json.fail("model_type", fmt::format("{} is not supported; llama is", printable_name(type)));
  if (json.object().contains("quantization_config")) {
    json.fail("quantization_config", "quantised folders are not supported; use a GGUF file");
  }
  const std::string* const activation = json.find_string("hidden_act");
  if (activation != nullptr && *activation != "silu") {
    json.fail("hidden_act",
              fmt::format("{} is not supported; silu is", printable_name(*activation)));
  }
  const auto number = [&](std::string_view key, std::uint64_t most) {
    return place.in_range(key, json.require_unsigned(key), most);
  };
  const KeyNames keys{.heads = "num_attention_heads",
                      .kv_heads = "num_key_value_heads",
                      .head_dim = "head_dim",
                      .rotary_dimensions = "partial_rotary_factor",
                      .epsilon = "rms_norm_eps"};
  ModelConfig config;
  config.layers = number("num_hidden_layers", most_layers);
  config.width = number("hidden_size", most_width);
  config.ffn_width = number("intermediate_size", most_width);
  config.vocabulary = number("vocab_size", most_context);
  config.heads = number(keys.heads, most_width);
  config.kv_heads = place.in_range(
      keys.kv_heads, json.find_unsigned(keys.kv_heads).value_or(config.heads), most_width);
  config.context =
      place.in_range("max_position_embeddings",
                     json.find_unsigned("max_position_embeddings").value_or(2048), most_context);
  const auto head_dim = json.find_unsigned(keys.head_dim);
  if (!head_dim && config.width % config.heads != 0) {
    json.fail(keys.heads,
              fmt::format("{} heads do not divide a width of {}", config.heads, config.width));
  }
  config.head_dim =
      place.in_range(keys.head_dim, head_dim.value_or(config.width / config.heads), most_width);
  config.norm_epsilon = static_cast<float>(json.find_float(keys.epsilon).value_or(1e-6));
  config.tied_head = json.find_bool("tie_word_embeddings").value_or(false);
  config.pairing = RotaryPairing::halves;
  config.rotary.dimensions = config.head_dim;
  // Newer files keep all of the rotary embedding in rope_parameters; older ones have rope_theta
  // beside rope_scaling.
  std::optional<double> base = json.find_float("rope_theta");
  const auto newer = json.find_object("rope_parameters");
  const auto rope = newer ? newer : json.find_object("rope_scaling");
  if (rope) {
    if (const auto inner = rope->find_float("rope_theta")) base = inner;
    config.rotary.scaling = json_scaling(*rope, place, config.context);
  }
  config.rotary.base = place.positive("rope_theta", base.value_or(1e4));
  check_shapes(config, place, keys);
  return config;
}

}  // namespace fathom
