#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/model_options.h"
#include "depth/cost.h"
#include "depth/route.h"

namespace fathom {
namespace {

constexpr std::size_t half_bytes = 2;  // of an element of the fast precision's cache

struct Options {
  ModelOption model;
  bool json = false;
};

Json part_json(const PartSize& part) {
  return {{"parameters", part.parameters}, {"bytes", part.bytes}};
}

PartSize layer_total(const ModelSizes& sizes) {
  PartSize sum;
  for (const PartSize& layer : sizes.layers) {
    sum.parameters += layer.parameters;
    sum.bytes += layer.bytes;
  }
  return sum;
}

std::string_view scaling_name(const RotaryScaling& scaling) {
  if (std::holds_alternative<LinearScaling>(scaling)) return "linear";
  if (std::holds_alternative<Llama3Scaling>(scaling)) return "llama3";
  if (std::holds_alternative<YarnScaling>(scaling)) return "yarn";
  if (std::holds_alternative<FrequencyFactors>(scaling)) return "frequency factors";
  return "none";
}

std::size_t layers_with_window(const ModelConfig& config) {
  return static_cast<std::size_t>(
      std::count_if(config.attention.begin(), config.attention.end(),
                    [](const LayerAttention& attention) { return attention.window.has_value(); }));
}

std::optional<std::size_t> smallest_window(const ModelConfig& config) {
  std::optional<std::size_t> smallest;
  for (const LayerAttention& attention : config.attention) {
    if (attention.window && (!smallest || *attention.window < *smallest)) {
      smallest = attention.window;
    }
  }
  return smallest;
}

// What a token's bytes are made of, without the cache: the part that no context changes.
struct Shares {
  explicit Shares(const TokenBytes& bytes)
      : total(bytes.of(Route::full(static_cast<std::int32_t>(bytes.layers.size())), 0)),
        head(static_cast<double>(bytes.head) / static_cast<double>(total)),
        layer((1 - head) / static_cast<double>(bytes.layers.size())) {}
  std::uint64_t total;
  double head;
  double layer;  // the mean one
};

void print(const ModelFiles& files) {
  const ModelConfig& config = files.config;
  const ModelSizes sizes = model_sizes(files.tensors);
  const TokenBytes bytes = stored_token_bytes(files.tensors, config, half_bytes);
  const Shares shares(bytes);
  fmt::print("{}\n{}\n\n", files.name, files.path);
  fmt::print("architecture       {}\n", name(config.family));
  fmt::print("layers             {}\n", config.layers);
  fmt::print("width              {}\n", config.width);
  fmt::print("attention          {} heads of {} on {} key/value heads\n", config.heads,
             config.head_dim, config.kv_heads);
  fmt::print("feed-forward       {}\n", config.ffn_width);
  fmt::print("vocabulary         {} ({} tokens named)\n", config.vocabulary,
             files.tokenizer.vocabulary_size());
  fmt::print("context            {}\n", config.context);
  for (const RotaryConfig& rotary : config.rotaries) {
    fmt::print("rotary base        {:g}, scaling {}\n", rotary.base, scaling_name(rotary.scaling));
  }
  if (config.rotaries.empty()) fmt::print("positions          learned\n");
  if (const auto window = smallest_window(config)) {
    fmt::print("sliding window     {} positions, in {} layers\n", *window,
               layers_with_window(config));
  }
  fmt::print("output head        {}\n\n",
             config.tied_head ? "tied to the embedding" : "of its own");

  fmt::print("{:<22}{:>14}{:>16}\n", "part", "parameters", "bytes");
  const auto row = [](std::string_view part, const PartSize& size) {
    fmt::print("{:<22}{:>14}{:>16}\n", part, size.parameters, size.bytes);
  };
  row("embedding", sizes.embedding);
  row(fmt::format("{} layers", config.layers), layer_total(sizes));
  row("final norm", sizes.output_norm);
  if (!config.tied_head) row("output head", sizes.head);
  row("total", sizes.total());

  fmt::print(
      "\nA decoding step reads {:.1f} MB of weights: the head {:.1f}%, each layer {:.2f}%.\n",
      static_cast<double>(shares.total) / 1e6, 100 * shares.head, 100 * shares.layer);
  fmt::print("If reading is what takes the time, skipping layers makes it faster by at most\n\n");
  fmt::print("{:<10}{:>10}\n", "layers", "speed-up");
  std::set<std::int32_t, std::greater<>> costs;
  for (const std::int32_t quarter : {1, 2, 3}) {
    costs.insert(std::max(1, config.depth() * quarter / 4));
  }
  for (const std::int32_t cost : costs) {
    fmt::print("{:<10}{:>9.2f}x\n", cost,
               speedup_ceiling(bytes, Route::uniform(cost, config.depth()), 0));
  }
}

void print_as_json(const ModelFiles& files) {
  const ModelConfig& config = files.config;
  const ModelSizes sizes = model_sizes(files.tensors);
  const TokenBytes bytes = stored_token_bytes(files.tensors, config, half_bytes);
  const Shares shares(bytes);
  const bool learned = config.rotaries.empty();
  const std::optional<std::size_t> window = smallest_window(config);
  Json layers = Json::array();
  for (const PartSize& layer : sizes.layers) layers.push_back(part_json(layer));
  Json ceilings = Json::array();
  for (std::int32_t cost = 1; cost <= config.depth(); ++cost) {
    ceilings.push_back(
        {{"layers", cost},
         {"speedup", speedup_ceiling(bytes, Route::uniform(cost, config.depth()), 0)}});
  }
  print_json(
      {{"path", files.path},
       {"name", files.name},
       {"architecture", name(config.family)},
       {"layers", config.layers},
       {"width", config.width},
       {"heads", config.heads},
       {"kv_heads", config.kv_heads},
       {"head_dim", config.head_dim},
       {"ffn_width", config.ffn_width},
       {"vocabulary", config.vocabulary},
       {"context", config.context},
       {"norm_epsilon", config.norm.epsilon},
       {"rotary_base", learned ? Json() : Json(config.rotaries.front().base)},
       {"rotary_scaling", learned ? Json() : Json(scaling_name(config.rotaries.front().scaling))},
       {"sliding_window", window ? Json(*window) : Json()},
       {"sliding_layers", layers_with_window(config)},
       {"tied_head", config.tied_head},
       {"parts",
        {{"embedding", part_json(sizes.embedding)},
         {"layers", std::move(layers)},
         {"output_norm", part_json(sizes.output_norm)},
         {"head", part_json(sizes.head)},
         {"total", part_json(sizes.total())}}},
       {"token_bytes",
        {{"total", shares.total},
         {"head", bytes.head},
         {"cache_per_position_and_layer", bytes.cache_per_position},
         {"head_share", shares.head},
         {"layer_share", shares.layer}}},
       {"ceilings", std::move(ceilings)}});
}

}  // namespace

Command add_inspect(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "inspect", "What a model is made of, and how much skipping layers can save");
  // A path on its own reads better here than --model.
  options->model.add_to(*command);
  options->model.add_quantize_to(*command);
  command->add_option("MODEL", options->model.path, "the same as --model");
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom inspect model.gguf");
  return {command, [options] {
            const ModelFiles files = options->model.open();
            options->json ? print_as_json(files) : print(files);
            return 0;
          }};
}

}  // namespace fathom
