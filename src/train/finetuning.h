#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "depth/route.h"
#include "formats/tensor_type.h"
#include "model/lora_adapter.h"
#include "model/model_files.h"
#include "nn/activation_storage.h"
#include "nn/dropout_rates.h"
#include "nn/torch_model.h"
#include "train/ranks.h"
#include "train/schedule.h"
#include "train/training_example.h"
#include "train/training_target.h"

namespace fathom {

/// An adapter that is trained while the model's own weights stay as they are [Hu et al. 2021]. Of
/// routed rows it has factors for the layers that a route runs, else for all.
struct LoraOptions {
  std::size_t rank = 8;
  double alpha = 16;  ///< the factors' product is scaled by alpha / rank
  AdapterRows rows = AdapterRows::routed;
  TensorType stored = TensorType::F32;  ///< of the factors' file: F32, F16 or BF16
  /// What training begins from, as far as it has factors, which must be of this rank and scale;
  /// the others, or all if there is none, begin with a change of nothing.
  std::optional<LoraAdapter> start;
};

/// What becomes of the layers that a step's route leaves out, which the prompts run nevertheless.
enum class SkippedLayers {
  trained,  ///< as the prompts' gradients say
  frozen,   ///< they stay as they are in this step; those that no route runs for good
};

struct FinetuningOptions {
  TorchOptions torch;  ///< products in this type; what is trained is kept in float32
  LinearSchedule schedule;
  double weight_decay = 0;
  double clip = 1;
  std::size_t batch = 8;            ///< rows of a micro-batch on each rank
  std::size_t accumulate = 1;       ///< micro-batches of a step
  std::vector<Route> routes;        ///< each step draws one for its responses; none: all layers
  std::optional<LoraOptions> lora;  ///< else all weights are trained
  TrainingTarget target = TrainingTarget::labels;
  SkippedLayers skipped = SkippedLayers::trained;
  double layer_dropout = 0;  ///< for each layer but the first and each row, from 0 to below 1
  DropoutRates dropout;
  ActivationStorage activations = ActivationStorage::kept;
  /// Of how many predictions there are logits at a time, at least 1; none: what suits the device.
  /// Losses and gradients are summed over them, so it changes no more than their rounding.
  std::optional<std::size_t> logit_rows;
  std::uint64_t seed = 0;
};

/// What a step did.
struct StepReport {
  std::uint64_t step = 0;  ///< from 1
  double loss = 0;         ///< per response token, before the step's change
  double gradient_norm = 0;
  double learning_rate = 0;
  std::int32_t cost = 0;     ///< layers that the response's rows ran
  std::uint64_t tokens = 0;  ///< of prompts and responses
  std::uint64_t response_tokens = 0;
};

/// Fine-tuning of a model or of an adapter for it, a step at a time. What a step draws (rows,
/// route) depends on the seed and its number alone, so that a training which was saved and loaded
/// goes on as it would have, on a CPU to the bit.
///
/// Several ranks do together what one would with as many times the rows in a micro-batch, and its
/// losses are theirs but for rounding: a step's rows are shared out, its reports are of all rows.
/// They call step(), evaluate(), save() and load() together; the first alone touches files.
class Finetuning {
 public:
  /// Throws InputError if there are no examples, one has no response or is longer than the model's
  /// context, the device is not there, an adapter of routed rows has a route on which it does
  /// nothing: all layers, also if there are no routes; or if the adapter to begin from has factors
  /// of another rank or scale.
  Finetuning(ModelFiles files, std::vector<TrainingExample> examples, FinetuningOptions options);
  /// As one of several ranks, which must live as long as this.
  Finetuning(ModelFiles files, std::vector<TrainingExample> examples, FinetuningOptions options,
             Ranks& ranks);
  ~Finetuning();

  /// Steps taken so far.
  [[nodiscard]] std::uint64_t steps() const;

  /// The next step. Rows of its micro-batches are drawn, or given, as indices of examples: those
  /// of all ranks.
  StepReport step();
  StepReport step(std::span<const std::vector<std::size_t>> micro_batches);

  /// The loss per response token on rows that are not trained on, which must not be empty, without
  /// any dropout; responses on `route`, null: all layers.
  [[nodiscard]] double evaluate(std::span<const TrainingExample> examples,
                                const Route* route) const;

  /// The model with its weights of now, copied, for whoever runs models: what was opened, if an
  /// adapter is trained.
  [[nodiscard]] ModelFiles trained_model() const;
  /// The adapter with its factors of now, copied, to set on that model; none if weights are
  /// trained.
  [[nodiscard]] std::optional<LoraAdapter> trained_adapter() const;

  /// Writes everything that is needed to go on as `folder`. A kill at any moment leaves this
  /// checkpoint or the one before it (train/checkpoint_folder.h). `description` says what the
  /// training is. Throws FileError if that fails; the checkpoint before it is then as it was.
  void save(const std::filesystem::path& folder, const std::string& description) const;
  /// Goes on from there; false if there is no checkpoint. Throws FileError if the folder is
  /// damaged, is of another model, or of a training that was described otherwise.
  bool load(const std::filesystem::path& folder, const std::string& description);

  /// Writes the model with its new weights, in float32, as `path`: a Hugging Face folder if it came
  /// from one, else a GGUF file. Throws FileError.
  void write_model(const std::filesystem::path& path) const;
  /// Writes the adapter (model/lora_adapter.h). `base_sha256` is the model's. Throws FileError,
  /// InputError if a number is too large for the type that it is stored in,
  /// std::logic_error if weights were trained.
  void write_adapter(const std::filesystem::path& folder, const std::string& base_sha256) const;

 private:
  // Keeps torch's headers out of here.
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace fathom
