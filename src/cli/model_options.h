#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/thread_team.h"
#include "cli/json_output.h"
#include "depth/policy.h"
#include "engine/cpu_model.h"
#include "model/lora_adapter.h"
#include "model/model_config.h"
#include "model/model_files.h"

namespace fathom {

/// --model, on every subcommand, --quantize on those that use the weights, and --adapter where a
/// model runs.
struct ModelOption {
  std::string path;      ///< empty: the default model
  std::string quantize;  ///< the type to convert weights to; empty: as they are
  std::string adapter;   ///< the folder of a LoRA adapter; empty: none

  void add_to(CLI::App& command);
  void add_quantize_to(CLI::App& command);
  void add_adapter_to(CLI::App& command);
  /// The model's files. Throws InputError that says how to get the default model if it is not
  /// there.
  [[nodiscard]] ModelFiles open() const;

 private:
  [[nodiscard]] std::filesystem::path path_or_default() const;
};

/// --precision and --threads, where a model runs.
struct EngineOptions {
  std::string precision = "fast";
  int threads = 0;

  void add_to(CLI::App& command);
};

/// An adapter that a model runs with, as outputs name it.
struct AdapterName {
  std::string path;
  AdapterRows rows = AdapterRows::all;
  std::size_t rank = 0;  ///< of the maps that its settings do not name
  std::string sha256;    ///< of its folder, as model_sha256()
};

/// As outputs hold it.
Json to_json(const AdapterName& adapter);

/// A model ready to run, with the adapter that was asked for.
class RunningModel {
 public:
  /// Throws FileError if the adapter is damaged, does not fit the model or is for another.
  RunningModel(const ModelOption& model, const EngineOptions& options);
  [[nodiscard]] CpuModel& model() { return model_; }
  [[nodiscard]] const CpuModel& model() const { return model_; }
  [[nodiscard]] ThreadTeam& team() { return *team_; }
  [[nodiscard]] const std::optional<AdapterName>& adapter() const { return adapter_; }

 private:
  std::unique_ptr<ThreadTeam> team_;  // the model refers to it
  CpuModel model_;
  std::optional<AdapterName> adapter_;
};

/// --ranking, where a depth policy is given.
struct RankingOption {
  std::string path;  ///< empty: the ranking that fathom carries for the model

  void add_to(CLI::App& command);
  /// The model's ranking, if one of the policies needs it. Throws InputError that says how to make
  /// one if there is none, FileError if the file is no ranking of a model with as many layers.
  [[nodiscard]] std::optional<Ranking> find(const ModelFiles& model,
                                            std::span<const DepthPolicy> policies) const;
};

/// --gates, where a depth policy may name skip controllers.
struct GatesOption {
  std::string gates = "sample";

  void add_to(CLI::App& command);
  /// The controllers that the policies name. Throws InputError if --gates is no rule, FileError if
  /// a file holds no controllers of a model like this one.
  [[nodiscard]] LoadedControllers find(const ModelConfig& model,
                                       std::span<const DepthPolicy> policies) const;
};

/// The text of a depth policy option's help, where all tokens of a sequence must run the same
/// layers.
std::string fixed_depth_help();
/// The same where each token may choose for itself.
std::string depth_help();

}  // namespace fathom
