#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/strong_types.h"
#include "base/thread_team.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "depth/route.h"
#include "engine/cpu_model.h"
#include "train/early_stopping.h"
#include "train/finetuning.h"
#include "train/ranks.h"
#include "train/training_example.h"

namespace fathom {

/// A route of `--depths` with the words for it.
struct NamedRoute {
  std::string name;
  Route route;
};

/// When `train finetune` evaluates, and by what beside the loss.
struct EvaluationOptions {
  std::uint64_t every = 100;                ///< steps
  std::size_t generate = 0;                 ///< rows that are answered
  std::size_t max_tokens = 64;              ///< of such an answer
  std::optional<std::uint64_t> patience{};  ///< none: it never stops early
};

/// What answers are compared by: prompts as tokens and the rows' own answers.
struct GenerationRow {
  std::vector<TokenId> prompt;
  std::string response;
};
/// Of the first `count` of some rows.
std::vector<GenerationRow> generation_rows(const std::vector<Example>& rows,
                                           const PromptMaker& prompts, std::size_t count);

/// ROUGE-L of the answers that the engine generates, greedily, from the weights as they are now.
class GenerationScore {
 public:
  GenerationScore(std::vector<GenerationRow> rows, std::size_t max_tokens, std::size_t batch,
                  int threads)
      : rows_(std::move(rows)), max_tokens_(max_tokens), batch_(batch), threads_(threads) {}

  [[nodiscard]] bool empty() const { return rows_.empty(); }
  /// The mean F1 over rows of each route, by its name; "full" if there is none.
  [[nodiscard]] nlohmann::ordered_json run(const Finetuning& training,
                                           const std::vector<NamedRoute>& routes) const;

 private:
  [[nodiscard]] double mean_score(CpuModel& model, ThreadTeam& team, const Route& route) const;

  std::vector<GenerationRow> rows_;
  std::size_t max_tokens_;
  std::size_t batch_;
  int threads_;
};

/// Losses on the rows that are held out, and what follows from them: which weights are the best,
/// and whether training ends.
class FinetuningEvaluation {
 public:
  /// `folder` is where the best weights are kept.
  FinetuningEvaluation(const EvaluationOptions& options, std::vector<TrainingExample> examples,
                       GenerationScore generation, std::vector<NamedRoute> routes,
                       std::filesystem::path folder)
      : examples_(std::move(examples)),
        generation_(std::move(generation)),
        routes_(std::move(routes)),
        every_(options.every),
        stopping_(options.patience),
        folder_(std::move(folder)) {}

  [[nodiscard]] bool is_due(std::uint64_t step, std::uint64_t last) const;
  [[nodiscard]] bool stops() const { return stopping_.stops(); }

  /// The metrics' row. Keeps the weights if they are the best so far. `described` is the
  /// training's description, as Finetuning::save() takes it.
  std::string run(const Finetuning& training, const std::string& described, const Ranks& ranks);
  /// What a run that this one goes on from found.
  void recall(std::uint64_t step, double mean) { stopping_.add(step, mean); }

  /// Takes the best weights, if there was an evaluation; otherwise those of the last step stay.
  /// Throws FileError if they are not in the folder.
  void restore_best(Finetuning& training, const std::string& described) const;
  [[nodiscard]] std::optional<std::uint64_t> best_step() const { return stopping_.best_step(); }

 private:
  std::vector<TrainingExample> examples_;
  GenerationScore generation_;
  std::vector<NamedRoute> routes_;
  std::uint64_t every_;
  EarlyStopping stopping_;
  std::filesystem::path folder_;
};

}  // namespace fathom
