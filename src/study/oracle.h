#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/thread_team.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "depth/ranking.h"
#include "generate/generator.h"
#include "model/language_model.h"
#include "model/model_files.h"
#include "study/run_folder.h"

namespace fathom {

/// The study of what hindsight could do with a budget [Glavas24 3.3, A.5]: every row of the data is
/// answered at every depth, and the answers are scored against the label.
struct OracleOptions {
  std::vector<std::string> depths;  ///< policies, ascending in layers run; the last is "full"
  std::optional<Ranking> ranking;   ///< the model's, if one of the depths needs it
  std::size_t max_new_tokens = 300;
  /// Answers that are drawn at each depth beside the greedy one, for the sampling advantage: 0
  /// or 2.
  std::size_t draws = 0;
  double temperature = 0.3;  ///< of the draws
  std::uint64_t seed = 0;    ///< of the draws and of random routes
};

/// The depths of a list of policies, for a model of `depth` layers with this ranking, in the order
/// of the options. Throws InputError if the list is no list of policies, one of them does not fit
/// the model or its ranking, two of them run as many layers (a depth is told by that number), or
/// full is missing.
std::vector<std::string> oracle_depths(std::string_view list, std::int32_t depth,
                                       const std::optional<Ranking>& ranking);

/// The options as the run's description holds them, and back: of the ranking, the routes of the
/// depths that need it. `depth` is the model's. Reading throws FileError that names `file`.
nlohmann::ordered_json to_json(const OracleOptions& options);
OracleOptions oracle_options_from_json(const nlohmann::json& json, std::string_view file,
                                       std::int32_t depth);

/// What one measure_oracle() did.
struct OracleWork {
  bool complete = false;  ///< whether nothing is left to do
  std::size_t answers = 0;
  std::size_t prompt_tokens = 0;  ///< of their prompts, each of which counts once a row
  std::size_t new_tokens = 0;
  double seconds = 0;
};

/// Measures what `folder` does not have yet: the time that a decoding step takes at each depth,
/// then the answers to every row of its run, up to `batch` (at least 1) at a time. Each answer is
/// in the store as soon as it is finished. Where `stop` is set, unfinished ones are dropped.
/// Answers do not depend on the batch. Throws FileError if the store fails.
///
/// A row that does not fit into the model's context, or whose prompt or label has no tokens, is
/// left out and so recorded.
OracleWork measure_oracle(LanguageModel& model, const ModelFiles& files, ThreadTeam& team,
                          const PromptMaker& prompts, std::span<const Example> examples,
                          const OracleOptions& options, std::size_t batch, RunFolder& folder,
                          const StopFlag& stop);

/// An answer to one row at one depth.
struct OracleAnswer {
  std::size_t tokens = 0;
  double rouge_l = 0;   ///< F1 against the label, without stemming
  bool capped = false;  ///< it ended because it was as long as it may be, not by itself
};

/// One row of the data with what was measured of it.
struct OracleRow {
  std::uint64_t sample = 0;
  std::string id;
  std::optional<std::string> left_out;  ///< why nothing was measured
  std::size_t label_tokens = 0;
  std::vector<OracleAnswer> greedy;              ///< by depth
  std::vector<std::vector<OracleAnswer>> drawn;  ///< by draw and depth
};

/// What a run's store holds.
struct OracleResults {
  std::vector<OracleRow> rows;  ///< in the data's order; those that are not complete are missing
  std::vector<double> step_seconds;  ///< by depth; empty if not measured yet
};

/// Throws FileError if a value is not of this study.
OracleResults read_oracle(const RunFolder& folder, const OracleOptions& options);

}  // namespace fathom
