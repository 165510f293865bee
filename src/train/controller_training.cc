#include "train/controller_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <array>
#include <c10/core/GradMode.h>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "formats/safetensors_writer.h"
#include "nn/decoder.h"
#include "nn/device.h"
#include "nn/index_tensor.h"
#include "nn/skip_gates.h"
#include "nn/training_pass.h"
#include "train/adamw.h"
#include "train/batches.h"
#include "train/checkpoint_folder.h"
#include "train/checkpoint_state.h"
#include "train/gradient_sum.h"
#include "train/layer_tensors.h"
#include "train/row_share.h"
#include "train/tensor_exchange.h"
#include "train/tensor_file.h"
#include "train/trained_model.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Files of a checkpoint.
constexpr const char* weights_file = "weights.safetensors";
constexpr const char* gates_file = "gates.safetensors";
constexpr const char* optimizer_file = "optimizer.safetensors";
constexpr const char* gate_optimizer_file = "gate_optimizer.safetensors";

// In place of a step's number where rows are evaluated.
constexpr std::uint64_t evaluation_draws = std::numeric_limits<std::uint32_t>::max();

// How many tokens a loss is over.
struct Counts {
  std::uint64_t tokens = 0;     // of prompts and responses
  std::uint64_t responses = 0;  // predicted
  std::uint64_t gated = 0;      // that gates decide about: a response's but for its last token

  void add(const TrainingExample& example) {
    tokens += example.tokens.size();
    responses += example.tokens.size() - example.prompt;
    gated += example.tokens.size() - example.prompt - 1;
  }
};

// Sums over the rows of a batch.
struct Sums {
  at::Tensor prediction;  // over response tokens
  at::Tensor execute;     // of the probabilities, over gated tokens and layers with a gate
  double run = 0;         // layers with a gate that ran, over gated tokens
};

}  // namespace

class ControllerTraining::Implementation {
 public:
  // No ranks: there is one.
  Implementation(ModelFiles files, std::vector<TrainingExample> examples,
                 std::vector<TrainingExample> held_out, ControllerTrainingOptions options,
                 Ranks* ranks)
      : alone_(ranks == nullptr ? one_rank() : nullptr),
        ranks_(ranks != nullptr ? *ranks : *alone_),
        files_(std::move(files)),
        examples_(std::move(examples)),
        held_out_(std::move(held_out)),
        options_(options),
        device_(torch_device(options_.torch.device, ranks_.local_rank())),
        parameters_(files_.source, master_type(options_.torch.type), device_),
        decoder_(files_.config, files_.tensors, parameters_, torch_type(options_.torch.type)),
        gates_(files_.config, options_.input,
               at::TensorOptions(device_).dtype(master_type(options_.torch.type))) {
    require_examples(examples_, files_.config, "train on");
    require_examples(held_out_, files_.config, "evaluate with");
    const AdamWOptions adamw{.weight_decay = options_.weight_decay, .clip = options_.clip};
    gate_optimizer_.emplace(gates_.parameters(), adamw);
    if (joint()) {
      if (options_.target == TrainingTarget::full_model) {
        const at::ScalarType type = torch_type(options_.torch.type);
        Parameters frozen(files_.source, type, device_);
        teacher_.emplace(files_.config, files_.tensors, frozen, type);
      }
      for (auto& [name, tensor] : parameters_.all()) tensor.set_requires_grad(true);
      optimizer_.emplace(parameters_.all(), adamw);
    }
    sum_gradients();
    batches_.emplace(lengths_of(examples_), options_.batch * ranks_.size(), options_.accumulate,
                     options_.seed);
  }

  [[nodiscard]] std::uint64_t steps() const { return steps_; }

  ControllerStep step() { return step(batches_->of_step(steps_)); }

  ControllerStep step(std::span<const std::vector<std::size_t>> micro_batches) {
    Counts counts;
    for (const std::vector<std::size_t>& rows : micro_batches) {
      for (const std::size_t row : rows) counts.add(examples_.at(row));
    }
    const double rate = options_.schedule.rate(steps_);
    ControllerStep report{
        .step = steps_ + 1,
        .learning_rate = rate / options_.schedule.peak * options_.controller_learning_rate,
        .tokens = counts.tokens,
        .response_tokens = counts.responses};
    double run = 0;
    // Sums over the step's tokens, divided by their number: micro-batches, and ranks' shares of
    // them, then weigh as their tokens do.
    for (std::size_t i = 0; i < micro_batches.size(); ++i) {
      if (i + 1 == micro_batches.size()) gradients_->begin(std::vector<bool>(layers_.size(), true));
      const std::vector<std::size_t> rows = row_share(micro_batches[i], ranks_);
      if (rows.empty()) continue;
      const Sums sums = this->sums(examples_, rows, steps_);
      const at::Tensor prediction = sums.prediction / static_cast<double>(counts.responses);
      const at::Tensor cost = sums.execute / cost_divisor(counts);
      (prediction + options_.alpha * cost).backward();
      report.loss.prediction += prediction.item<double>();
      report.loss.cost += cost.item<double>();
      run += sums.run;
    }
    gradients_->finish();
    finish(report.loss, run, counts);
    if (optimizer_) optimizer_->step(rate);
    report.gradient_norm = gate_optimizer_->step(report.learning_rate);
    ++steps_;
    return report;
  }

  [[nodiscard]] ControllerLoss evaluate() const {
    const c10::NoGradGuard guard;
    Counts counts;
    for (const TrainingExample& example : held_out_) counts.add(example);
    ControllerLoss loss;
    double run = 0;
    for (const auto& batch :
         epoch_batches(lengths_of(held_out_), options_.batch * ranks_.size(), 0, 0)) {
      const std::vector<std::size_t> rows = row_share(batch, ranks_);
      if (rows.empty()) continue;
      const Sums sums = this->sums(held_out_, rows, evaluation_draws);
      loss.prediction += sums.prediction.item<double>() / static_cast<double>(counts.responses);
      loss.cost += sums.execute.item<double>() / cost_divisor(counts);
      run += sums.run;
    }
    finish(loss, run, counts);
    return loss;
  }

  [[nodiscard]] SkipControllers controllers() const { return gates_.controllers(); }

  void write_model(const fs::path& path) const {
    write_trained_model(path, files_, HostTensors(parameters_.all()).views());
  }

  void save(const fs::path& folder, const std::string& description) const {
    if (!ranks_.is_first()) return;
    replace_folder(folder, [&](const fs::path& aside) {
      write_safetensors(aside / gates_file, HostTensors(gates_.parameters()).views(), {});
      write_safetensors(aside / gate_optimizer_file, HostTensors(gate_optimizer_->state()).views(),
                        {});
      if (optimizer_) {
        write_safetensors(aside / weights_file, HostTensors(parameters_.all()).views(), {});
        write_safetensors(aside / optimizer_file, HostTensors(optimizer_->state()).views(), {});
      }
      write_checkpoint_state(aside, steps_, description);
    });
  }

  bool load(const fs::path& folder, const std::string& description) {
    if (!ranks_.any(ranks_.is_first() && read_checkpoint(folder, description))) return false;
    steps_ = std::stoull(ranks_.broadcast(std::to_string(steps_)));
    broadcast(gates_.parameters());
    broadcast(gate_optimizer_->state());
    if (optimizer_) {
      broadcast(parameters_.all());
      broadcast(optimizer_->state());
    }
    return true;
  }

  bool read_checkpoint(const fs::path& folder, const std::string& description) {
    if (!recover_folder(folder)) return false;
    const std::uint64_t steps = read_checkpoint_state(folder, description);
    read_tensors(folder / gates_file, gates_.parameters());
    read_tensors(folder / gate_optimizer_file, gate_optimizer_->state());
    if (optimizer_) {
      read_tensors(folder / weights_file, parameters_.all());
      read_tensors(folder / optimizer_file, optimizer_->state());
    }
    steps_ = steps;
    return true;
  }

 private:
  [[nodiscard]] bool joint() const { return options_.backbone == Backbone::joint; }

  void sum_gradients() {
    std::map<std::string, at::Tensor> trained = gates_.parameters();
    if (joint()) {
      layers_ = layer_tensors(files_, parameters_.all());
      trained.insert(parameters_.all().begin(), parameters_.all().end());
    }
    gradients_.emplace(ranks_, layers_, tensors_outside(layers_, trained));
  }
  void broadcast(const std::map<std::string, at::Tensor>& tensors) const {
    for (const auto& [name, tensor] : tensors) ranks_.tensors().broadcast(tensor.detach());
  }

  // What the sum of the probabilities is divided by. Where every response has one token there is
  // nothing to decide, and the sum is 0.
  [[nodiscard]] double cost_divisor(const Counts& counts) const {
    const auto tokens = static_cast<double>(std::max<std::uint64_t>(counts.gated, 1));
    return options_.cost_term == CostTerm::mean ? tokens * gates_.gated_layers() : tokens;
  }

  // From this rank's part of the loss to all of it.
  void finish(ControllerLoss& loss, double run, const Counts& counts) const {
    std::array parts{loss.prediction, loss.cost, run};
    ranks_.sum(parts);
    loss.prediction = parts[0];
    loss.cost = parts[1];
    run = parts[2];
    loss.loss = loss.prediction + options_.alpha * loss.cost;
    const std::int32_t always = files_.config.depth() - gates_.gated_layers();
    loss.mean_layers = always + run / static_cast<double>(std::max<std::uint64_t>(counts.gated, 1));
  }

  [[nodiscard]] Sums sums(const std::vector<TrainingExample>& examples,
                          const std::vector<std::size_t>& rows, std::uint64_t draws) const {
    std::vector<TrainingSequence> sequences;
    std::vector<std::int64_t> predicting;  // the rows of states that predict response tokens
    std::vector<std::int64_t> labels;
    std::vector<NoiseKey> keys;  // of the rows that gates decide about
    std::int64_t begin = 0;
    for (const std::size_t row : rows) {
      const TrainingExample& example = examples[row];
      // The last token predicts nothing that is known.
      const std::size_t inputs = example.tokens.size() - 1;
      sequences.push_back(
          {.tokens = std::span(example.tokens).first(inputs), .prompt = example.prompt});
      for (std::size_t t = example.prompt; t < example.tokens.size(); ++t) {
        predicting.push_back(begin + static_cast<std::int64_t>(t) - 1);
        labels.push_back(example.tokens[t].value);
        if (t < inputs) {
          keys.push_back(
              {.sequence = draws << 32U | row, .position = Position{static_cast<std::int32_t>(t)}});
        }
      }
      begin += static_cast<std::int64_t>(inputs);
    }
    Sums sums{.execute = at::zeros({}, at::TensorOptions(device_).dtype(decoder_.state_type()))};
    const TokenGates gates = [&](LayerIndex layer, const at::Tensor& states) {
      if (!gates_.has_gate(layer)) return at::Tensor();
      const at::Tensor logits = gates_.logits(layer, states);
      const at::Tensor noise = gumbel_noise(options_.seed, layer, keys).to(logits.options());
      at::Tensor gate = hard_gate(logits, noise);
      sums.execute = sums.execute + execute_probability(logits).sum();
      sums.run += gate.detach().sum().item<double>();
      return gate;
    };
    const at::Tensor wanted = index_tensor(predicting, device_);
    const at::Tensor states = run_training_pass(decoder_, sequences, gates).states;
    const at::Tensor logits =
        decoder_.head(states.index_select(0, wanted)).to(decoder_.state_type());
    sums.prediction =
        options_.target == TrainingTarget::labels
            ? at::cross_entropy_loss(logits, index_tensor(labels, device_), {}, at::Reduction::Sum)
            : summed_divergence(logits, teacher_log_probabilities(sequences, wanted));
    return sums;
  }

  // Of the model before training, which one whose weights stay is.
  [[nodiscard]] at::Tensor teacher_log_probabilities(std::span<const TrainingSequence> sequences,
                                                     const at::Tensor& wanted) const {
    const c10::NoGradGuard guard;
    const Decoder& teacher = teacher_ ? *teacher_ : decoder_;
    const at::Tensor states = run_training_pass(teacher, sequences).states;
    return at::log_softmax(teacher.head(states.index_select(0, wanted)), -1, teacher.state_type());
  }

  std::unique_ptr<Ranks> alone_;  // unless it is one of several
  Ranks& ranks_;
  ModelFiles files_;
  std::vector<TrainingExample> examples_, held_out_;
  ControllerTrainingOptions options_;
  at::Device device_;
  Parameters parameters_;
  Decoder decoder_;
  SkipGates gates_;
  std::optional<Decoder> teacher_;  // the model before training, if training changes it
  std::optional<AdamW> optimizer_;  // of the model's weights, if they are trained
  std::optional<AdamW> gate_optimizer_;
  std::vector<std::vector<at::Tensor>> layers_;  // their weights, if they are trained
  std::optional<GradientSum> gradients_;
  std::uint64_t steps_ = 0;
  std::optional<StepBatches> batches_;
};

ControllerTraining::ControllerTraining(ModelFiles files, std::vector<TrainingExample> examples,
                                       std::vector<TrainingExample> held_out,
                                       ControllerTrainingOptions options)
    : implementation_(std::make_unique<Implementation>(std::move(files), std::move(examples),
                                                       std::move(held_out), options, nullptr)) {}

ControllerTraining::ControllerTraining(ModelFiles files, std::vector<TrainingExample> examples,
                                       std::vector<TrainingExample> held_out,
                                       ControllerTrainingOptions options, Ranks& ranks)
    : implementation_(std::make_unique<Implementation>(std::move(files), std::move(examples),
                                                       std::move(held_out), options, &ranks)) {}

ControllerTraining::~ControllerTraining() = default;

std::uint64_t ControllerTraining::steps() const { return implementation_->steps(); }

ControllerStep ControllerTraining::step() { return implementation_->step(); }

ControllerStep ControllerTraining::step(std::span<const std::vector<std::size_t>> micro_batches) {
  return implementation_->step(micro_batches);
}

ControllerLoss ControllerTraining::evaluate() const { return implementation_->evaluate(); }

SkipControllers ControllerTraining::controllers() const { return implementation_->controllers(); }

void ControllerTraining::write_model(const std::filesystem::path& path) const {
  implementation_->write_model(path);
}

void ControllerTraining::save(const std::filesystem::path& folder,
                              const std::string& description) const {
  implementation_->save(folder, description);
}

bool ControllerTraining::load(const std::filesystem::path& folder, const std::string& description) {
  return implementation_->load(folder, description);
}

}  // namespace fathom
