#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "depth/skip_controllers.h"
#include "model/model_files.h"
#include "nn/torch_model.h"
#include "train/ranks.h"
#include "train/schedule.h"
#include "train/training_example.h"
#include "train/training_target.h"

namespace fathom {

/// What the cost in the loss is: of each of a response's rows, over the layers that have a gate, of
/// the probability to run them.
enum class CostTerm {
  mean,  ///< the mean over these layers, from 0 to 1
  sum,   ///< their sum, as [Glavas24 eq. 1] has it
};

/// Whether the model's weights are trained with the controllers.
enum class Backbone { joint, frozen };

struct ControllerTrainingOptions {
  TorchOptions torch;       ///< products in this type; weights are kept in float32
  LinearSchedule schedule;  ///< of the model's weights, and by default of the controllers
  double controller_learning_rate = 5e-5;  ///< at its highest; it goes with the schedule
  double weight_decay = 0;                 ///< of the model's matrices and of the controllers'
  double clip = 1;             ///< of the model's gradient and of the controllers', each by itself
  std::size_t batch = 8;       ///< rows of a micro-batch
  std::size_t accumulate = 1;  ///< micro-batches of a step
  ControllerInput input = ControllerInput::hidden;
  Backbone backbone = Backbone::frozen;
  TrainingTarget target = TrainingTarget::full_model;
  CostTerm cost_term = CostTerm::mean;
  double alpha = 2;  ///< weight of the cost
  std::uint64_t seed = 0;
};

/// The loss [Glavas24 eq. 1] and its parts, over some rows.
struct ControllerLoss {
  double loss = 0;         ///< prediction + alpha * cost
  double prediction = 0;   ///< divergence or cross-entropy, per response token
  double cost = 0;         ///< the cost term, per token that gates decided about
  double mean_layers = 0;  ///< that these tokens ran, those without a gate included
};

/// What a step did.
struct ControllerStep {
  std::uint64_t step = 0;    ///< from 1
  ControllerLoss loss;       ///< before the step's change
  double gradient_norm = 0;  ///< of the controllers
  double learning_rate = 0;  ///< of the controllers
  std::uint64_t tokens = 0;  ///< of prompts and responses
  std::uint64_t response_tokens = 0;
};

/// Training of skip controllers, a step at a time, with hard gates forward and soft gradients
/// backward [Glavas24 3.2, A.4]. Prompts run all layers; a token that skips a layer has keys and
/// values there of the state that it carries (docs/depth.md). What a step draws (rows, Gumbel
/// variables) depends on the seed and its number alone, so that a training which was saved and
/// loaded goes on as it would have, on a CPU to the bit. Several ranks do together what one would,
/// as in Finetuning.
class ControllerTraining {
 public:
  /// Throws InputError if there are no examples to train on or to evaluate with, one has no
  /// response or is longer than the model's context, the model has fewer than 3 layers, or the
  /// device is not there.
  ControllerTraining(ModelFiles files, std::vector<TrainingExample> examples,
                     std::vector<TrainingExample> held_out, ControllerTrainingOptions options);
  /// As one of several ranks, which must live as long as this.
  ControllerTraining(ModelFiles files, std::vector<TrainingExample> examples,
                     std::vector<TrainingExample> held_out, ControllerTrainingOptions options,
                     Ranks& ranks);
  ~ControllerTraining();

  /// Steps taken so far.
  [[nodiscard]] std::uint64_t steps() const;

  /// The next step. Rows of its micro-batches are drawn, or given, as indices of examples: those
  /// of all ranks.
  ControllerStep step();
  ControllerStep step(std::span<const std::vector<std::size_t>> micro_batches);
  /// The loss on the rows held out, with gates drawn alike each time.
  [[nodiscard]] ControllerLoss evaluate() const;

  /// The controllers as they are now.
  [[nodiscard]] SkipControllers controllers() const;
  /// Writes the model with the weights it has now, as Finetuning::write_model() does.
  void write_model(const std::filesystem::path& path) const;

  /// Writes everything that is needed to go on as `folder`, with `description`, as
  /// Finetuning::save() does.
  void save(const std::filesystem::path& folder, const std::string& description) const;
  /// Goes on from there, as Finetuning::load() does.
  bool load(const std::filesystem::path& folder, const std::string& description);

 private:
  // Keeps torch's headers out of here.
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace fathom
