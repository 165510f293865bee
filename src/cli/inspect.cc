#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/model_options.h"
#include "depth/cost.h"
#include "depth/route.h"
#include "formats/printable.h"
#include "model/lora_adapter.h"
#include "model/model_hash.h"

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

// ---- Adapters

// What an adapter's folder says by itself, without the model.
struct AdapterContents {
  LoraSettings settings;
  std::map<std::string, std::size_t> modules;  // how many layers have factors of each
  std::map<std::string_view, std::size_t> types;
  std::size_t parameters = 0;
  std::size_t bytes = 0;
};

bool is_adapter(const std::string& path) {
  const std::filesystem::path folder(path);
  return std::filesystem::exists(folder / "adapter_config.json") &&
         !std::filesystem::exists(folder / "config.json");
}

AdapterContents read_adapter(const std::string& folder) {
  AdapterContents contents{.settings = read_lora_settings(folder), .modules = {}, .types = {}};
  const TensorSource tensors = open_lora_tensors(folder);
  for (const auto& [name, tensor] : tensors.tensors()) {
    contents.parameters += tensor.elements();
    contents.bytes += tensor.bytes.size();
    ++contents.types[info(tensor.type).name];
    const std::size_t end = name.rfind(".lora_A.");
    if (end == std::string::npos) continue;
    const std::size_t begin = name.rfind('.', end - 1);
    ++contents.modules[name.substr(begin + 1, end - begin - 1)];
  }
  return contents;
}

std::string_view rows_text(AdapterRows rows) {
  return rows == AdapterRows::all ? "all rows"
                                  : "routed rows; prompts and full depth stay as they are";
}

void print(const std::string& folder, const AdapterContents& contents) {
  const LoraSettings& settings = contents.settings;
  fmt::print("LoRA adapter\n{}\n\n", folder);
  fmt::print("acts on            {}\n", rows_text(settings.rows));
  fmt::print("rank               {}{}\n", settings.rank,
             settings.rank_pattern.empty() ? "" : ", another for some modules");
  fmt::print("alpha              {:g}{}{}\n", settings.alpha,
             settings.rank_stabilized ? ", over the square root of the rank" : "",
             settings.alpha_pattern.empty() ? "" : ", another for some modules");
  fmt::print("for the model      {}\n",
             settings.base_model.empty() ? "not said" : printable(settings.base_model, 200));
  fmt::print("its SHA-256        {}\n", settings.base_sha256.value_or("not said"));
  std::vector<std::string_view> types;
  for (const auto& [type, count] : contents.types) types.push_back(type);
  fmt::print("parameters         {} in {} bytes ({})\n\n", contents.parameters, contents.bytes,
             fmt::join(types, ", "));
  fmt::print("{:<22}{:>8}\n", "module", "layers");
  for (const auto& [module, layers] : contents.modules) {
    fmt::print("{:<22}{:>8}\n", printable(module, 40), layers);
  }
}

void print_as_json(const std::string& folder, const AdapterContents& contents) {
  const LoraSettings& settings = contents.settings;
  Json modules = Json::object();
  for (const auto& [module, layers] : contents.modules) modules[module] = layers;
  Json types = Json::object();
  for (const auto& [type, count] : contents.types) types[std::string(type)] = count;
  print_json({{"path", folder},
              {"kind", "adapter"},
              {"rows", name(settings.rows)},
              {"rank", settings.rank},
              {"alpha", settings.alpha},
              {"rank_stabilized", settings.rank_stabilized},
              {"base_model", settings.base_model.empty() ? Json() : Json(settings.base_model)},
              {"base_sha256", settings.base_sha256 ? Json(*settings.base_sha256) : Json()},
              {"sha256", model_sha256(folder)},
              {"parameters", contents.parameters},
              {"bytes", contents.bytes},
              {"tensors_by_type", std::move(types)},
              {"modules", std::move(modules)}});
}

int inspect_adapter(const Options& options) {
  const AdapterContents contents = read_adapter(options.model.path);
  options.json ? print_as_json(options.model.path, contents) : print(options.model.path, contents);
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "inspect",
      "What a model is made of and how much skipping layers can save, or what an adapter holds");
  // A path on its own reads better here than --model.
  options->model.add_to(*command);
  options->model.add_quantize_to(*command);
  command->add_option("MODEL", options->model.path, "the same as --model, or an adapter's folder");
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom inspect model.gguf");
  return {command, [options] {
            if (is_adapter(options->model.path)) return inspect_adapter(*options);
            const ModelFiles files = options->model.open();
            options->json ? print_as_json(files) : print(files);
            return 0;
          }};
}

}  // namespace fathom
