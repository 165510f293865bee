#include "model/lora_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "formats/dequantize.h"
#include "formats/json_file.h"
#include "formats/printable.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "model/config_checks.h"
#include "model/model_hash.h"

namespace fathom {
namespace {

constexpr std::string_view settings_file = "adapter_config.json";
constexpr std::string_view tensors_file = "adapter_model.safetensors";
constexpr std::size_t largest_settings = std::size_t{1} << 20;
// What PEFT puts before the paths of the model that it wraps.
constexpr std::string_view key_prefix = "base_model.model.";
constexpr std::string_view a_suffix = ".lora_A.weight";
constexpr std::string_view b_suffix = ".lora_B.weight";

// Fields of PEFT's LoraConfig that change nothing of what a trained adapter computes, or that are
// read below.
constexpr auto known_fields = std::to_array<std::string_view>({"alpha_pattern",
                                                               "auto_mapping",
                                                               "base_model_name_or_path",
                                                               "bias",
                                                               "corda_config",
                                                               "ensure_weight_tying",
                                                               "eva_config",
                                                               "exclude_modules",
                                                               "fan_in_fan_out",
                                                               "fathom_base_sha256",
                                                               "fathom_rows",
                                                               "inference_mode",
                                                               "init_lora_weights",
                                                               "layers_pattern",
                                                               "layers_to_transform",
                                                               "loftq_config",
                                                               "lora_alpha",
                                                               "lora_dropout",
                                                               "lora_ga_config",
                                                               "megatron_core",
                                                               "modules_to_save",
                                                               "peft_type",
                                                               "peft_version",
                                                               "qalora_group_size",
                                                               "r",
                                                               "rank_pattern",
                                                               "revision",
                                                               "runtime_config",
                                                               "target_modules",
                                                               "task_type",
                                                               "use_rslora"});
static_assert(std::is_sorted(known_fields.begin(), known_fields.end()));

// Ways to begin that leave the model's own weights as they are. The others subtract from them, so
// that the adapter belongs to weights that no file has.
constexpr auto known_beginnings =
    std::to_array<std::string_view>({"gaussian", "eva", "orthogonal"});

bool is_said(const nlohmann::json& value) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string() || value.is_array() || value.is_object()) return !value.empty();
  return true;
}

void refuse_what_is_not_done(const JsonFields& fields) {
  const auto refuse = [&](std::string_view key, std::string_view problem) {
    const auto where = fields.object().find(key);
    if (where != fields.object().end() && is_said(*where)) fields.fail(key, problem);
  };
  refuse("use_dora", "DoRA adapters are not supported, plain LoRA is");
  refuse("modules_to_save", "modules that are saved whole are not supported, only LoRA factors");
  refuse("lora_bias", "biases of factors are not supported");
  refuse("use_qalora", "QA-LoRA is not supported, plain LoRA is");
  refuse("layer_replication", "models whose layers are repeated are not supported");
  refuse("trainable_token_indices", "trained embeddings are not supported");
  refuse("target_parameters", "factors of parameters outside linear maps are not supported");
  refuse("alora_invocation_tokens", "activated LoRA is not supported, plain LoRA is");
  for (const auto& [key, value] : fields.object().items()) {
    if (std::ranges::binary_search(known_fields, key) || !is_said(value)) continue;
    fields.fail(key, "not known; it may change what the adapter computes");
  }
  if (const std::string* const bias = fields.find_string("bias");
      bias != nullptr && *bias != "none") {
    fields.fail("bias", fmt::format("{} found, 'none' expected: trained biases are not supported",
                                    printable_name(*bias)));
  }
}

void check_beginning(const JsonFields& fields) {
  constexpr std::string_view key = "init_lora_weights";
  const auto where = fields.object().find(key);
  if (where == fields.object().end() || !where->is_string()) {
    (void)fields.find_bool(key);
    return;
  }
  const std::string& beginning = *fields.find_string(key);
  if (std::ranges::find(known_beginnings, beginning) != known_beginnings.end()) return;
  fields.fail(key, fmt::format("{} found; true, false, 'gaussian', 'eva' or 'orthogonal' "
                               "expected: others may change the model that the adapter is for",
                               printable_name(beginning)));
}

// PEFT takes regular expressions for keys. Those that say nothing but the end of a path are the
// path itself.
void require_plain_path(const JsonFields& fields, const std::string& key) {
  const bool plain = !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
  });
  if (!plain) fields.fail(key, "the path of a module or the end of one expected");
}

template <class Value, class Read>
std::vector<std::pair<std::string, Value>> read_pattern(const JsonFields& fields,
                                                        std::string_view key, const Read& read) {
  std::vector<std::pair<std::string, Value>> pattern;
  const std::optional<JsonFields> object = fields.find_object(key);
  if (!object) return pattern;
  for (const auto& [path, value] : object->object().items()) {
    require_plain_path(*object, path);
    pattern.emplace_back(path, read(*object, path));
  }
  return pattern;
}

std::size_t require_rank(const JsonFields& fields, std::string_view key) {
  const std::uint64_t rank = fields.require_unsigned(key, most_width);
  if (rank == 0) fields.fail(key, "0 found, at least 1 expected");
  return rank;
}

std::optional<std::vector<std::string>> read_targets(const JsonFields& fields) {
  const auto where = fields.object().find("target_modules");
  // A regular expression or "all-linear", which the tensors answer as well.
  if (where != fields.object().end() && where->is_string()) return std::nullopt;
  auto targets = fields.find_strings("target_modules");
  // What is left out would make the list say more than there is.
  if (const auto excluded = fields.object().find("exclude_modules");
      excluded != fields.object().end() && is_said(*excluded)) {
    return std::nullopt;
  }
  return targets;
}

AdapterRows read_rows(const JsonFields& fields) {
  constexpr std::string_view key = "fathom_rows";
  const std::string* const rows = fields.find_string(key);
  if (rows == nullptr || *rows == name(AdapterRows::all)) return AdapterRows::all;
  if (*rows == name(AdapterRows::routed)) return AdapterRows::routed;
  fields.fail(key, fmt::format("{} found, 'all' or 'routed' expected", printable_name(*rows)));
}

std::optional<std::string> read_base_sha256(const JsonFields& fields) {
  constexpr std::string_view key = "fathom_base_sha256";
  const std::string* const hash = fields.find_string(key);
  if (hash == nullptr) return std::nullopt;
  const bool sound = hash->size() == 64 && std::ranges::all_of(*hash, [](char c) {
                       return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                     });
  if (!sound) {
    fields.fail(key,
                fmt::format("{} found, 64 hexadecimal digits expected", printable_name(*hash)));
  }
  return *hash;
}

bool names_module(std::string_view key, std::string_view path) {
  if (path == key) return true;
  return path.size() > key.size() && path.ends_with(key) &&
         path[path.size() - key.size() - 1] == '.';
}

// What a pattern says of a module. PEFT takes the first key that matches; JSON's objects have no
// order that one could rely on, so that two that differ are refused.
template <class Value>
std::optional<Value> pattern_of(const std::string& file, std::string_view key,
                                const std::vector<std::pair<std::string, Value>>& pattern,
                                std::string_view path) {
  std::optional<Value> found;
  for (const auto& [end, value] : pattern) {
    if (!names_module(end, path)) continue;
    if (found && *found != value) {
      throw FileError(file, fmt::format("key '{}'", key),
                      fmt::format("two of its keys name {} and differ", path));
    }
    found = value;
  }
  return found;
}

void require_finite(const TensorSource& source, const TensorView& tensor) {
  const std::size_t columns = tensor.shape[1];
  const std::size_t row_bytes = tensor.bytes.size() / tensor.shape[0];
  std::vector<float> row(columns);
  for (std::size_t r = 0; r < tensor.shape[0]; ++r) {
    dequantize(tensor.type, tensor.bytes.subspan(r * row_bytes, row_bytes), row);
    for (std::size_t c = 0; c < columns; ++c) {
      if (std::isfinite(row[c])) continue;
      throw FileError(
          source.origin(), fmt::format("tensor {}", printable_name(tensor.name)),
          fmt::format("{} found in row {}, column {}, a finite number expected", row[c], r, c));
    }
  }
}

struct Map {
  LayerIndex layer;
  LinearRole role;
  std::string path;  // as module_path()
};

// The factors of one adapter, found and checked.
class Reader {
 public:
  Reader(const LoraAdapter& adapter, const ModelConfig& config)
      : adapter_(adapter),
        config_(config),
        settings_path_((std::filesystem::path(adapter.path) / settings_file).string()) {
    const std::string_view prefix = hugging_face_names(config.family).prefix;
    for (LayerIndex layer{0}; layer.value < config.depth(); ++layer) {
      for (const LinearRole role : linear_roles(config)) {
        std::string path = module_path(config, role, layer);
        // A model without its head has paths without the first part.
        maps_.emplace(path.substr(prefix.size()), Map{layer, role, path});
        maps_.emplace(path, Map{layer, role, path});
      }
    }
  }

  [[nodiscard]] std::vector<LoraLayer> layers() const {
    if (!adapter_.source.refused().empty()) {
      // Says what is wrong with it.
      (void)adapter_.source.find(adapter_.source.refused().begin()->first);
    }
    std::vector<LoraLayer> layers(config_.layers);
    for (const auto& [name, tensor] : adapter_.source.tensors()) {
      const std::string_view stem = stem_of(name);
      const Map& map = map_of(name, stem);
      if (name.ends_with(b_suffix)) {
        // The pair is read where its first one comes.
        (void)partner(std::string(key_prefix).append(stem).append(a_suffix), name);
        continue;
      }
      std::optional<LoraFactors>& place = layers[map.layer.index()][map.role];
      if (place) fail(name, fmt::format("{} has factors under another name, too", map.path));
      place = factors(map, tensor, stem);
    }
    require_targets(layers);
    return layers;
  }

 private:
  [[noreturn]] void fail(std::string_view tensor, std::string_view problem) const {
    throw FileError(adapter_.source.origin(), fmt::format("tensor {}", printable_name(tensor)),
                    problem);
  }

  [[nodiscard]] std::string_view stem_of(const std::string& name) const {
    std::string_view stem = name;
    for (const std::string_view part : {"lora_embedding", "lora_magnitude_vector"}) {
      if (stem.find(part) != std::string_view::npos) {
        fail(name, "factors of embeddings and DoRA's magnitudes are not supported");
      }
    }
    const bool whole = stem.starts_with(key_prefix) &&
                       (stem.ends_with(a_suffix) || stem.ends_with(b_suffix)) &&
                       stem.size() > key_prefix.size() + a_suffix.size();
    if (!whole) {
      fail(name, fmt::format("not known; {}MODULE{} or {} expected", key_prefix, a_suffix,
                             b_suffix.substr(1)));
    }
    stem.remove_prefix(key_prefix.size());
    stem.remove_suffix(a_suffix.size());
    return stem;
  }

  [[nodiscard]] const Map& map_of(const std::string& name, std::string_view stem) const {
    const auto where = maps_.find(stem);
    if (where == maps_.end()) {
      fail(name, fmt::format("the model has no linear map of this name in its {} layers; those of "
                             "layer 1 are {}",
                             config_.layers, fmt::join(paths_of_first_layer(), ", ")));
    }
    return where->second;
  }

  [[nodiscard]] std::vector<std::string> paths_of_first_layer() const {
    std::vector<std::string> paths;
    for (const LinearRole role : linear_roles(config_)) {
      paths.push_back(module_path(config_, role, LayerIndex{0}));
    }
    return paths;
  }

  [[nodiscard]] const TensorView& partner(const std::string& name, std::string_view of) const {
    const TensorView* const tensor = adapter_.source.find(name);
    if (tensor == nullptr) fail(of, fmt::format("its other factor {} is missing", name));
    return *tensor;
  }

  [[nodiscard]] LoraFactors factors(const Map& map, const TensorView& a,
                                    std::string_view stem) const {
    const LoraSettings& settings = adapter_.settings;
    const LinearShape shape = linear_shape(config_, map.role);
    const std::size_t rank =
        pattern_of(settings_path_, "rank_pattern", settings.rank_pattern, map.path)
            .value_or(settings.rank);
    const double alpha =
        pattern_of(settings_path_, "alpha_pattern", settings.alpha_pattern, map.path)
            .value_or(settings.alpha);
    const TensorView& b = partner(std::string(key_prefix).append(stem).append(b_suffix), a.name);
    (void)adapter_.source.require(a.name, std::array{rank, shape.inputs});
    (void)adapter_.source.require(b.name, std::array{shape.outputs, rank});
    require_finite(adapter_.source, a);
    require_finite(adapter_.source, b);
    const auto divisor = static_cast<double>(rank);
    const double scale = alpha / (settings.rank_stabilized ? std::sqrt(divisor) : divisor);
    const auto narrow = static_cast<float>(scale);
    if (!std::isfinite(narrow)) {
      throw FileError(settings_path_, "key 'lora_alpha'",
                      fmt::format("{} is too large for float32", scale));
    }
    return {.a = a, .b = b, .scale = narrow};
  }

  // An adapter that lost some of its tensors is still a sound file of the others.
  void require_targets(const std::vector<LoraLayer>& layers) const {
    const auto& targets = adapter_.settings.target_modules;
    const auto& wanted = adapter_.settings.layers;
    std::size_t found = 0;
    for (const LoraLayer& layer : layers) {
      found += static_cast<std::size_t>(std::ranges::count_if(
          layer.maps, [](const auto& factors) { return factors.has_value(); }));
    }
    if (found == 0) throw FileError(adapter_.source.origin(), "", "no factors in it");
    if (wanted) {
      for (const std::uint64_t layer : *wanted) {
        if (layer < config_.layers) continue;
        throw FileError(
            settings_path_, "key 'layers_to_transform'",
            fmt::format("{} found; the model's layers are 0 to {}", layer, config_.layers - 1));
      }
    }
    if (!targets) return;
    for (const auto& [stem, map] : maps_) {
      if (stem != map.path || layers[map.layer.index()][map.role]) continue;
      if (wanted && std::ranges::find(*wanted, map.layer.index()) == wanted->end()) continue;
      const bool is_target = std::ranges::any_of(
          *targets, [&](const std::string& target) { return names_module(target, map.path); });
      if (!is_target) continue;
      throw FileError(
          adapter_.source.origin(), "",
          fmt::format("no factors of {}, which {} says there are", map.path, settings_file));
    }
  }

  const LoraAdapter& adapter_;
  const ModelConfig& config_;
  std::string settings_path_;
  std::map<std::string, Map, std::less<>> maps_;  // by the path that a tensor's name has
};

// Whether every layer that has factors at all has the same, so that the ends of their paths name
// them.
bool is_regular(const std::map<std::pair<LayerIndex, LinearRole>, const LoraOutput*>& outputs) {
  std::set<LayerIndex> layers;
  std::set<LinearRole> roles;
  for (const auto& [key, output] : outputs) {
    layers.insert(key.first);
    roles.insert(key.second);
  }
  return outputs.size() == layers.size() * roles.size();
}

}  // namespace

std::string_view name_of(const TensorNames& names, LinearRole role) {
  switch (role) {
    case LinearRole::query:
      return names.query;
    case LinearRole::key:
      return names.key;
    case LinearRole::value:
      return names.value;
    case LinearRole::query_key_value:
      return names.query_key_value;
    case LinearRole::attention_output:
      return names.attention_output;
    case LinearRole::gate:
      return names.gate;
    case LinearRole::up:
      return names.up;
    case LinearRole::down:
      return names.down;
  }
  return {};
}

std::vector<LinearRole> linear_roles(const ModelConfig& config) {
  const TensorNames names = hugging_face_names(config.family);
  std::vector<LinearRole> roles;
  for (std::size_t r = 0; r < linear_role_count; ++r) {
    const auto role = static_cast<LinearRole>(r);
    if (role == LinearRole::gate && !config.gated) continue;
    if (!name_of(names, role).empty()) roles.push_back(role);
  }
  return roles;
}

LinearShape linear_shape(const ModelConfig& config, LinearRole role) {
  switch (role) {
    case LinearRole::query:
      return {config.query_width(), config.width};
    case LinearRole::key:
    case LinearRole::value:
      return {config.kv_width(), config.width};
    case LinearRole::query_key_value:
      return {config.query_width() + 2 * config.kv_width(), config.width};
    case LinearRole::attention_output:
      return {config.width, config.query_width()};
    case LinearRole::gate:
    case LinearRole::up:
      return {config.ffn_width, config.width};
    case LinearRole::down:
      return {config.width, config.ffn_width};
  }
  throw std::logic_error("unknown linear map");
}

std::string module_path(const ModelConfig& config, LinearRole role, LayerIndex layer) {
  const TensorNames names = hugging_face_names(config.family);
  return std::string(names.prefix)
      .append(fmt::format(fmt::runtime(name_of(names, role)), layer.index()));
}

std::string_view name(AdapterRows rows) { return rows == AdapterRows::all ? "all" : "routed"; }

bool acts_on(AdapterRows rows, const SequenceStep& step) {
  if (rows == AdapterRows::all) return true;
  if (step.role == RowRole::prompt) return false;
  const Route* const route = step.selector->fixed_route();
  return route == nullptr || route->cost() != route->depth();
}

LoraSettings read_lora_settings(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / settings_file;
  const nlohmann::json object = read_json_object(path, largest_settings);
  const JsonFields fields(path.string(), object);
  if (const std::string& type = fields.require_string("peft_type"); type != "LORA") {
    fields.fail("peft_type", fmt::format("{} found, 'LORA' expected", printable_name(type)));
  }
  refuse_what_is_not_done(fields);
  check_beginning(fields);
  // Which way a module stores its weight; the model knows.
  (void)fields.find_bool("fan_in_fan_out");
  LoraSettings settings;
  settings.rank = require_rank(fields, "r");
  settings.alpha = fields.require_float("lora_alpha");
  settings.rank_stabilized = fields.find_bool("use_rslora").value_or(false);
  settings.rank_pattern = read_pattern<std::size_t>(fields, "rank_pattern", require_rank);
  settings.alpha_pattern = read_pattern<double>(
      fields, "alpha_pattern",
      [](const JsonFields& pattern, const std::string& key) { return pattern.require_float(key); });
  settings.target_modules = read_targets(fields);
  settings.layers = fields.find_one_or_more_unsigned("layers_to_transform", most_layers);
  if (const std::string* const base = fields.find_string("base_model_name_or_path")) {
    settings.base_model = *base;
  }
  settings.rows = read_rows(fields);
  settings.base_sha256 = read_base_sha256(fields);
  return settings;
}

TensorSource open_lora_tensors(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / tensors_file;
  if (!std::filesystem::exists(path)) {
    throw FileError(path.string(), "", "missing; an adapter's factors are expected in this file");
  }
  return open_safetensors(path);
}

LoraAdapter LoraAdapter::open(const std::filesystem::path& folder, const ModelConfig& config) {
  LoraAdapter adapter{.path = folder.string(),
                      .settings = read_lora_settings(folder),
                      .layers = {},
                      .source = open_lora_tensors(folder)};
  adapter.layers = Reader(adapter, config).layers();
  return adapter;
}

std::size_t LoraAdapter::parameters() const {
  std::size_t sum = 0;
  for (const LoraLayer& layer : layers) {
    for (const auto& factors : layer.maps) {
      if (factors) sum += factors->a.elements() + factors->b.elements();
    }
  }
  return sum;
}

void check_adapter_base(const LoraAdapter& adapter, const std::filesystem::path& model) {
  if (!adapter.settings.base_sha256) return;
  const std::string hash = model_sha256(model);
  if (hash == *adapter.settings.base_sha256) return;
  throw FileError((std::filesystem::path(adapter.path) / settings_file).string(),
                  "key 'fathom_base_sha256'",
                  fmt::format("the adapter is for the model with SHA-256 {}; {} has {}",
                              *adapter.settings.base_sha256, model.string(), hash));
}

void write_lora_adapter(const std::filesystem::path& folder, const ModelConfig& config,
                        const LoraOutline& outline, std::span<const LoraOutput> factors) {
  std::map<std::pair<LayerIndex, LinearRole>, const LoraOutput*> outputs;
  for (const LoraOutput& output : factors) {
    const LinearShape shape = linear_shape(config, output.role);
    if (output.a.shape != std::vector{outline.rank, shape.inputs} ||
        output.b.shape != std::vector{shape.outputs, outline.rank}) {
      throw std::invalid_argument("a factor has another shape than model and rank say");
    }
    if (!outputs.emplace(std::pair(output.layer, output.role), &output).second) {
      throw std::invalid_argument("a map's factors stand twice");
    }
  }
  if (outputs.empty()) throw std::invalid_argument("an adapter without factors");

  const TensorNames names = hugging_face_names(config.family);
  const bool regular = is_regular(outputs);
  std::set<std::string> targets;
  std::set<std::size_t> layers;
  std::map<std::string, TensorView> tensors;
  for (const auto& [key, output] : outputs) {
    const std::string path = module_path(config, output->role, output->layer);
    const std::string_view pattern = name_of(names, output->role);
    targets.insert(regular ? std::string(pattern.substr(pattern.find("{}.") + 3)) : path);
    layers.insert(output->layer.index());
    for (const auto& [suffix, factor] :
         {std::pair(a_suffix, &output->a), std::pair(b_suffix, &output->b)}) {
      TensorView tensor = *factor;
      tensor.name = std::string(key_prefix).append(path).append(suffix);
      tensors.emplace(tensor.name, std::move(tensor));
    }
  }
  nlohmann::ordered_json settings;
  settings["peft_type"] = "LORA";
  settings["task_type"] = "CAUSAL_LM";
  settings["base_model_name_or_path"] = nullptr;
  if (!outline.base_model.empty()) settings["base_model_name_or_path"] = outline.base_model;
  settings["r"] = outline.rank;
  settings["lora_alpha"] = outline.alpha;
  settings["target_modules"] = targets;
  settings["layers_to_transform"] = nullptr;
  if (regular && layers.size() < config.layers) settings["layers_to_transform"] = layers;
  settings["bias"] = "none";
  settings["fan_in_fan_out"] = names.inputs_first;
  settings["inference_mode"] = true;
  settings["fathom_rows"] = name(outline.rows);
  if (outline.base_sha256) settings["fathom_base_sha256"] = *outline.base_sha256;

  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw FileError(folder.string(), "", failed.message());
  std::vector<TensorView> in_order;
  for (auto& [name, tensor] : tensors) in_order.push_back(std::move(tensor));
  // PEFT looks for this, as transformers does in its own files.
  write_safetensors(folder / tensors_file, in_order, {{"format", "pt"}});
  write_file_atomically(folder / settings_file, settings.dump(2) + "\n");
}

}  // namespace fathom
