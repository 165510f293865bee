#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_types.h"
#include "formats/tensor_source.h"
#include "model/language_model.h"
#include "model/model_config.h"
#include "model/tensor_names.h"

namespace fathom {

/// The linear maps of a decoder layer, as transformers' modules have them: families whose queries,
/// keys and values are one module have query_key_value in place of the three.
enum class LinearRole : std::uint8_t {
  query,
  key,
  value,
  query_key_value,
  attention_output,
  gate,
  up,
  down,
};
inline constexpr std::size_t linear_role_count = 8;

/// The maps that a layer of a model has, in the order of LinearRole.
std::vector<LinearRole> linear_roles(const ModelConfig& config);

/// What `names` call a map's tensors, with {} for the layer; empty if they have none of its kind.
std::string_view name_of(const TensorNames& names, LinearRole role);

/// Sizes of a linear map.
struct LinearShape {
  std::size_t outputs = 0;
  std::size_t inputs = 0;
};
/// Of one of linear_roles().
LinearShape linear_shape(const ModelConfig& config, LinearRole role);

/// The path of a map's module in transformers' causal language model, as in
/// "model.layers.0.self_attn.q_proj"; the name of its weight without ".weight". `role` is one of
/// linear_roles().
std::string module_path(const ModelConfig& config, LinearRole role, LayerIndex layer);

/// Which rows of a forward pass an adapter acts on.
enum class AdapterRows {
  all,     ///< every row, as PEFT's adapters do
  routed,  ///< rows that may skip layers: see acts_on()
};
/// "all" or "routed".
std::string_view name(AdapterRows rows);

/// Whether an adapter acts on the rows of a step. One of AdapterRows::routed leaves prompts and
/// sequences on the route of all layers to the model as it is. Where each token chooses its layers
/// it acts on all routed rows, since nobody knows before which of them will run every layer.
bool acts_on(AdapterRows rows, const SequenceStep& step);

/// What adapter_config.json says, as far as it matters here.
struct LoraSettings {
  std::size_t rank = 0;          ///< of maps that no pattern names
  double alpha = 0;              ///< likewise; the change of a map is alpha / rank * B A
  bool rank_stabilized = false;  ///< alpha / sqrt(rank) instead [Kalajdzievski 2023]
  /// Maps whose module's path is the key or ends in it have another rank or alpha.
  std::vector<std::pair<std::string, std::size_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  /// Modules that the adapter has factors for, by path or end of it; nullopt if the file names them
  /// in another way.
  std::optional<std::vector<std::string>> target_modules;
  std::optional<std::vector<std::uint64_t>> layers;  ///< from 0; all if not given
  std::string base_model;                            ///< what it calls its model; may be empty
  AdapterRows rows = AdapterRows::all;
  std::optional<std::string> base_sha256;  ///< of the model it was trained on, as model_sha256()
};

/// Reads adapter_config.json of a folder that PEFT or fathom wrote. Throws FileError naming the key
/// on anything that is damaged or that fathom does not do: another method than LoRA, DoRA, trained
/// biases, modules that are saved whole, a base that was changed when training began (PiSSA and
/// the like), and fields that it does not know unless they are null, false or empty.
LoraSettings read_lora_settings(const std::filesystem::path& folder);

/// The change of one linear map W: y = W x + scale * B (A x) [Hu et al., LoRA, 2021].
struct LoraFactors {
  TensorView a;  ///< [rank][inputs], finite
  TensorView b;  ///< [outputs][rank], finite
  float scale = 1;

  [[nodiscard]] std::size_t rank() const { return a.shape[0]; }
};

/// The changes of a layer's maps, by LinearRole.
struct LoraLayer {
  std::array<std::optional<LoraFactors>, linear_role_count> maps;

  [[nodiscard]] const std::optional<LoraFactors>& operator[](LinearRole role) const {
    return maps[static_cast<std::size_t>(role)];
  }
  [[nodiscard]] std::optional<LoraFactors>& operator[](LinearRole role) {
    return maps[static_cast<std::size_t>(role)];
  }
};

/// A LoRA adapter in PEFT's layout: a folder with adapter_config.json and
/// adapter_model.safetensors, checked against the model that it is for.
struct LoraAdapter {
  std::string path;  ///< the folder
  LoraSettings settings;
  std::vector<LoraLayer> layers;  ///< as many as the model has
  TensorSource source;            ///< keeps the factors alive

  /// Reads all of it. Throws FileError naming the file and the tensor or key if something is
  /// missing, damaged, not a number, of another shape than model and settings say, or not
  /// supported.
  static LoraAdapter open(const std::filesystem::path& folder, const ModelConfig& config);

  [[nodiscard]] std::size_t parameters() const;
};

/// Throws FileError that names both hashes if the adapter says which model it is for and `model`, a
/// GGUF file or folder, is another. Reads the model only if the adapter says so.
void check_adapter_base(const LoraAdapter& adapter, const std::filesystem::path& model);

/// The tensors of an adapter's file. For who looks at one without its model.
TensorSource open_lora_tensors(const std::filesystem::path& folder);

/// What is to be written as an adapter.
struct LoraOutline {
  std::size_t rank = 0;  ///< of all factors
  double alpha = 0;
  AdapterRows rows = AdapterRows::all;
  std::optional<std::string> base_sha256;
  std::string base_model;  ///< "base_model_name_or_path", which PEFT looks for; may be empty
};

/// The factors of one map, to be written. Types F32, F16 or BF16.
struct LoraOutput {
  LayerIndex layer;
  LinearRole role = LinearRole::query;
  TensorView a;  ///< [rank][inputs]
  TensorView b;  ///< [outputs][rank]
};

/// Writes an adapter that PEFT and LoraAdapter::open() read into `folder`, which is made if it is
/// not there. The same input gives the same bytes. Throws FileError if a file cannot be written,
/// std::invalid_argument if a shape is not what the model says, a map stands twice or there is
/// none.
void write_lora_adapter(const std::filesystem::path& folder, const ModelConfig& config,
                        const LoraOutline& outline, std::span<const LoraOutput> factors);

}  // namespace fathom
