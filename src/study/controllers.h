#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/thread_team.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "depth/skip_controllers.h"
#include "generate/generator.h"
#include "model/language_model.h"
#include "model/model_files.h"
#include "study/run_folder.h"

namespace fathom {

/// One of a grid of trained controllers.
struct ControllerCell {
  ControllerInput input = ControllerInput::hidden;
  std::string backbone;  ///< "joint" or "frozen"
  double alpha = 0;
  std::string controllers_sha256;
  std::string model_sha256;  ///< of the weights that were trained with it; empty if none were

  /// What results are called: "hidden joint alpha 2".
  [[nodiscard]] std::string name() const;
};

/// A cell and where its files lie.
struct CellFiles {
  ControllerCell cell;
  std::filesystem::path controllers;
  std::optional<std::filesystem::path> model;  ///< its own weights
};

/// The cells in folders that `train controllers` has filled, by backbone, input and alpha. Throws
/// FileError if a folder has none or one that is not finished, InputError if two are alike.
std::vector<CellFiles> find_cells(std::span<const std::string> folders);

/// The study of skip controllers [Glavas24 3.2, A.4]: every row of the data is answered with each
/// cell's controllers, and the answers are scored against the label.
struct ControllersOptions {
  std::vector<ControllerCell> cells;
  std::size_t max_new_tokens = 300;
  GateRule gates;
  std::uint64_t seed = 0;  ///< of the gates' draws
};

/// The options as the run's description holds them, and back, which throws FileError that names
/// `file`.
nlohmann::ordered_json to_json(const ControllersOptions& options);
ControllersOptions controllers_options_from_json(const nlohmann::json& json, std::string_view file);

/// What a model is run with.
struct CellModel {
  LanguageModel& model;
  const ModelFiles& files;
  std::shared_ptr<const SkipControllers> controllers;
};

/// Whether the store has all answers of a cell to `rows` rows.
bool is_answered(const RunFolder& folder, const ControllerCell& cell, std::size_t rows);

/// Answers the rows that `folder` does not have yet with a cell's controllers, greedily, up to
/// `batch` (at least 1) at a time. Each answer is in the store as soon as it is finished. Returns
/// false if `stop` was set before all were there. Answers do not depend on the batch. A row that
/// does not fit into the model's context, or whose prompt has no tokens, is left out and so
/// recorded.
bool measure_controllers(const CellModel& with, ThreadTeam& team, const PromptMaker& prompts,
                         std::span<const Example> examples, const ControllersOptions& options,
                         const ControllerCell& cell, std::size_t batch, RunFolder& folder,
                         const StopFlag& stop);

/// An answer to one row.
struct ControlledAnswer {
  double rouge_l = 0;  ///< F1 against the label, without stemming
  std::size_t tokens = 0;
  bool capped = false;               ///< it ended because it was as long as it may be
  std::size_t passes = 0;            ///< routed ones: one fewer than the tokens
  std::vector<std::uint64_t> skips;  ///< by layer, how many of them skipped it
};

/// One row of the data with its answers.
struct ControllersRow {
  std::uint64_t sample = 0;
  std::string id;
  std::optional<std::string> left_out;    ///< why nothing was measured
  std::vector<ControlledAnswer> answers;  ///< by cell
};

/// The rows that are complete, in the data's order. `depth` is the model's. Throws FileError if a
/// value is not of this study.
std::vector<ControllersRow> read_controllers_study(const RunFolder& folder,
                                                   const ControllersOptions& options);

}  // namespace fathom
