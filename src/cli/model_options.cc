#include "cli/model_options.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/available_cpus.h"
#include "base/error.h"
#include "formats/quantize.h"
#include "kernels/kernels.h"
#include "model/controller_file.h"
#include "model/default_model.h"
#include "model/model_hash.h"
#include "model/ranking_file.h"

namespace fathom {
void ModelOption::add_to(CLI::App& command) {
  command.add_option("--model", path,
                     "GGUF file or Hugging Face folder; default: $FATHOM_MODEL, else the model "
                     "that `make model` fetched");
}

void ModelOption::add_quantize_to(CLI::App& command) {
  command
      .add_option("--quantize", quantize,
                  "weights as `fathom convert --type` makes them: q8_0, q4_0 or q4_1")
      ->check(CLI::IsMember({"q8_0", "q4_0", "q4_1"}));
}

void ModelOption::add_adapter_to(CLI::App& command) {
  command.add_option("--adapter", adapter,
                     "folder of a LoRA adapter in PEFT's layout, applied beside the weights "
                     "(docs/adapters.md)");
}

ModelFiles ModelOption::open() const {
  ModelFiles files = ModelFiles::open(path_or_default());
  if (!quantize.empty()) files.convert_weights(quantizable_type_named(quantize).value());
  return files;
}

std::filesystem::path ModelOption::path_or_default() const {
  if (!path.empty()) return path;
  std::filesystem::path fallback = default_model_path();
  if (!std::filesystem::exists(fallback)) {
    throw InputError(fmt::format(
        "{}: no default model there; run `make model` in fathom's source folder, or give --model",
        fallback.string()));
  }
  return fallback;
}

void EngineOptions::add_to(CLI::App& command) {
  command
      .add_option("--precision", precision,
                  "exact (float32) or fast (int8 activations, 16-bit cache)")
      ->check(CLI::IsMember({"exact", "fast"}))
      ->capture_default_str();
  threads = available_cpus();
  command.add_option("--threads", threads, "threads to compute with")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

RunningModel::RunningModel(const ModelOption& model, const EngineOptions& options)
    : team_(std::make_unique<ThreadTeam>(options.threads)),
      model_(model.open(), options.precision == "exact" ? Precision::exact : Precision::fast,
             kernels(), *team_) {
  if (model.adapter.empty()) return;
  const LoraAdapter adapter = LoraAdapter::open(model.adapter, model_.config());
  check_adapter_base(adapter, model_.files().path);
  model_.set_adapter(adapter);
  adapter_ = {.path = adapter.path,
              .rows = adapter.settings.rows,
              .rank = adapter.settings.rank,
              .sha256 = model_sha256(adapter.path)};
}

Json to_json(const AdapterName& adapter) {
  return {{"path", adapter.path},
          {"sha256", adapter.sha256},
          {"rank", adapter.rank},
          {"rows", name(adapter.rows)}};
}

void RankingOption::add_to(CLI::App& command) {
  command.add_option("--ranking", path,
                     "what ranked:K reads, as `fathom study layers` writes it; default: the one "
                     "that fathom carries for the model, if it does");
}

std::optional<Ranking> RankingOption::find(const ModelFiles& model,
                                           std::span<const DepthPolicy> policies) const {
  if (std::none_of(policies.begin(), policies.end(), needs_ranking)) return std::nullopt;
  if (!path.empty()) {
    const RankingFile file = read_ranking(path);
    // Not by its hash: a model in another number format does without the same layers.
    if (file.layers != model.config.depth()) {
      throw FileError(path, "model.layers",
                      fmt::format("{} found; the model has {}", file.layers, model.config.depth()));
    }
    return file.ranking();
  }
  const auto shipped = shipped_ranking(model_sha256(model.path));
  if (!shipped) {
    throw InputError(
        fmt::format("{}: fathom carries no ranking of this model's layers, which ranked:K needs; "
                    "`fathom study layers` makes one, and --ranking FILE names it",
                    model.path));
  }
  return shipped->ranking();
}

void GatesOption::add_to(CLI::App& command) {
  command
      .add_option(
          "--gates", gates,
          "how skip controllers decide: sample, by a draw for each token and layer; argmax; "
          "or threshold:T, running a layer whose probability is T or more")
      ->capture_default_str();
}

LoadedControllers GatesOption::find(const ModelConfig& model,
                                    std::span<const DepthPolicy> policies) const {
  LoadedControllers loaded{.by_file = {}, .rule = parse_gate_rule(gates)};
  for (const DepthPolicy& policy : policies) {
    const std::string* const file = controller_file(policy);
    if (file == nullptr || loaded.by_file.contains(*file)) continue;
    loaded.by_file[*file] =
        std::make_shared<SkipControllers>(read_controllers_of(*file, model).controllers);
  }
  return loaded;
}

std::string fixed_depth_help() {
  return "which layers generated tokens run: full, first:K, uniform:K, random:K, random-free:K, "
         "block:K, ranked:K or layers:1,3,5-9";
}

std::string depth_help() {
  return fixed_depth_help() + "; by token: confidence:T or controller:FILE";
}

}  // namespace fathom
