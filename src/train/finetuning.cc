#include "train/finetuning.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <algorithm>
#include <c10/core/GradMode.h>
#include <deque>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "formats/dequantize.h"
#include "formats/quantize.h"
#include "formats/safetensors_writer.h"
#include "model/gguf_names.h"
#include "nn/decoder.h"
#include "nn/device.h"
#include "nn/dropout.h"
#include "nn/index_tensor.h"
#include "nn/lora.h"
#include "nn/training_pass.h"
#include "train/adamw.h"
#include "train/batches.h"
#include "train/checkpoint_folder.h"
#include "train/checkpoint_state.h"
#include "train/gradient_sum.h"
#include "train/layer_tensors.h"
#include "train/prediction_loss.h"
#include "train/row_share.h"
#include "train/tensor_exchange.h"
#include "train/tensor_file.h"
#include "train/trained_model.h"
#include "train/weights_in_memory.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// Files of a checkpoint.
constexpr const char* weights_file = "weights.safetensors";
constexpr const char* optimizer_file = "optimizer.safetensors";

}  // namespace

class Finetuning::Implementation {
 public:
  // Null: there is one rank.
  Implementation(ModelFiles files, std::vector<TrainingExample> examples, FinetuningOptions options,
                 Ranks* ranks)
      : alone_(ranks == nullptr ? one_rank() : nullptr),
        ranks_(ranks != nullptr ? *ranks : *alone_),
        files_(std::move(files)),
        examples_(std::move(examples)),
        options_(std::move(options)),
        device_(torch_device(options_.torch.device, ranks_.local_rank())),
        parameters_(files_.source, weight_type(), device_),
        decoder_(files_.config, files_.tensors, parameters_, torch_type(options_.torch.type)) {
    require_examples(examples_, files_.config);
    if (options_.lora) {
      begin_adapter();
    } else {
      trained_ = parameters_.all();
      if (options_.target == TrainingTarget::full_model) {
        const at::ScalarType type = torch_type(options_.torch.type);
        Parameters frozen(files_.source, type, device_);
        untrained_.emplace(files_.config, files_.tensors, frozen, type);
      }
    }
    find_layers();
    if (options_.skipped == SkippedLayers::frozen) leave_out_unused_layers();
    for (auto& [name, tensor] : trained_) tensor.set_requires_grad(true);
    optimizer_.emplace(trained_,
                       AdamWOptions{.weight_decay = options_.weight_decay, .clip = options_.clip});
    gradients_.emplace(ranks_, layers_, tensors_outside(layers_, trained_));
    batches_.emplace(lengths_of(examples_), options_.batch * ranks_.size(), options_.accumulate,
                     options_.seed);
  }

  [[nodiscard]] std::uint64_t steps() const { return steps_; }

  StepReport step() { return step(batches_->of_step(steps_)); }

  StepReport step(std::span<const std::vector<std::size_t>> micro_batches) {
    const Route* const route = draw_route();
    StepReport report{.step = steps_ + 1,
                      .learning_rate = options_.schedule.rate(steps_),
                      .cost = route != nullptr ? route->cost() : files_.config.depth()};
    for (const std::vector<std::size_t>& rows : micro_batches) {
      for (const std::size_t row : rows) {
        report.tokens += examples_.at(row).tokens.size();
        report.response_tokens += examples_.at(row).tokens.size() - examples_.at(row).prompt;
      }
    }
    // The sum over the step's response tokens, divided by their number: micro-batches, and ranks'
    // shares of them, then weigh as their tokens do.
    if (options_.skipped == SkippedLayers::frozen) freeze_all_but(route);
    for (std::size_t i = 0; i < micro_batches.size(); ++i) {
      if (i + 1 == micro_batches.size()) gradients_->begin(taking_gradients(route));
      const std::vector<std::size_t> rows = row_share(micro_batches[i], ranks_);
      if (rows.empty()) continue;
      const Dropout dropout(options_.dropout, options_.seed, steps_);
      const Batch batch = batch_of(rows, route);
      report.loss += train_on(batch, dropout, static_cast<double>(report.response_tokens));
    }
    gradients_->finish();
    report.loss = ranks_.sum(report.loss);
    report.gradient_norm = optimizer_->step(report.learning_rate);
    ++steps_;
    return report;
  }

  [[nodiscard]] double evaluate(std::span<const TrainingExample> examples,
                                const Route* route) const {
    const c10::NoGradGuard guard;
    // As long ones as a step's rows, for the memory's sake.
    double sum = 0;
    double tokens = 0;
    std::vector<std::size_t> rows(examples.size());
    std::iota(rows.begin(), rows.end(), std::size_t{0});
    rows = row_share(rows, ranks_);
    for (std::size_t begin = 0; begin < rows.size(); begin += options_.batch) {
      const auto part =
          std::span(rows).subspan(begin, std::min(options_.batch, rows.size() - begin));
      Batch batch;
      for (const std::size_t row : part) add(batch, examples[row], row, route, nullptr);
      const bool as_it_was =
          responses_alone() && (route == nullptr || route->cost() == files_.config.depth());
      const Decoder& decoder = as_it_was ? *untrained_ : decoder_;
      if (responses_alone() && !as_it_was) {
        sum += responses_loss(batch, {}, 1);
      } else {
        const at::Tensor states = run_training_pass(decoder, batch.sequences).states;
        sum += loss_of(predictions(decoder, batch, states), 1);
      }
      tokens += static_cast<double>(batch.labels.size());
    }
    return ranks_.sum(sum) / ranks_.sum(tokens);
  }

  void save(const fs::path& folder, const std::string& description) const {
    if (!ranks_.is_first()) return;
    replace_folder(folder, [&](const fs::path& aside) {
      write_safetensors(aside / weights_file, HostTensors(trained_).views(), {});
      write_safetensors(aside / optimizer_file, HostTensors(optimizer_->state()).views(), {});
      write_checkpoint_state(aside, steps_, description);
    });
  }

  bool load(const fs::path& folder, const std::string& description) {
    if (!ranks_.any(ranks_.is_first() && read_checkpoint(folder, description))) return false;
    steps_ = std::stoull(ranks_.broadcast(std::to_string(steps_)));
    for (const auto& [name, tensor] : trained_) ranks_.tensors().broadcast(tensor.detach());
    for (const auto& [name, tensor] : optimizer_->state()) ranks_.tensors().broadcast(tensor);
    return true;
  }

  bool read_checkpoint(const fs::path& folder, const std::string& description) {
    if (!recover_folder(folder)) return false;
    const std::uint64_t steps = read_checkpoint_state(folder, description);
    read_tensors(folder / weights_file, trained_);
    read_tensors(folder / optimizer_file, optimizer_->state());
    steps_ = steps;
    return true;
  }

  void write_model(const fs::path& path) const {
    write_trained_model(path, files_, HostTensors(parameters_.all()).views());
  }

  [[nodiscard]] ModelFiles trained_model() const {
    ModelFiles model = files_;
    if (lora_) return model;
    model.source = weights_in_memory(parameters_.all());
    model.tensors = find_tensors(
        model.source, model.config,
        fs::is_directory(model.path) ? TensorNaming::hugging_face : TensorNaming::gguf);
    return model;
  }

  [[nodiscard]] std::optional<LoraAdapter> trained_adapter() const {
    if (!lora_) return std::nullopt;
    std::map<std::string, at::Tensor> tensors;
    for (const LoraTensors& map : lora_->maps()) {
      tensors[factor_name(map, 'a')] = map.a;
      tensors[factor_name(map, 'b')] = in_transformers_order(map);
    }
    LoraAdapter adapter{.path = "adapter in training",
                        .settings = {.rank = options_.lora->rank,
                                     .alpha = options_.lora->alpha,
                                     .rows = options_.lora->rows},
                        .layers = std::vector<LoraLayer>(files_.config.layers),
                        .source = weights_in_memory(tensors)};
    for (const LoraTensors& map : lora_->maps()) {
      adapter.layers[map.layer.index()][map.role] =
          LoraFactors{.a = *adapter.source.find(factor_name(map, 'a')),
                      .b = *adapter.source.find(factor_name(map, 'b')),
                      .scale = static_cast<float>(lora_->scale())};
    }
    return adapter;
  }

  void write_adapter(const fs::path& folder, const std::string& base_sha256) const {
    const std::optional<LoraAdapter> adapter = trained_adapter();
    if (!adapter) throw std::logic_error("no adapter was trained");
    std::vector<LoraOutput> factors;
    std::deque<std::vector<std::byte>> rounded;  // what views point to
    const auto stored = [&](const TensorView& factor) {
      TensorView view = factor;
      view.type = options_.lora->stored;
      std::vector<float> elements(factor.elements());
      dequantize(factor.type, factor.bytes, elements);
      rounded.emplace_back(row_bytes(view.type, elements.size()));
      quantize(view.type, elements, rounded.back());
      view.bytes = rounded.back();
      return view;
    };
    for (const LoraTensors& map : lora_->maps()) {
      const LoraFactors& of_map = *adapter->layers[map.layer.index()][map.role];
      factors.push_back(
          {.layer = map.layer, .role = map.role, .a = stored(of_map.a), .b = stored(of_map.b)});
    }
    write_lora_adapter(folder, files_.config,
                       {.rank = adapter->settings.rank,
                        .alpha = adapter->settings.alpha,
                        .rows = adapter->settings.rows,
                        .base_sha256 = base_sha256,
                        .base_model = fs::is_directory(files_.path) ? files_.path : files_.name},
                       factors);
  }

 private:
  // Of the model's own weights. Frozen ones are as the products take them.
  [[nodiscard]] at::ScalarType weight_type() const {
    return options_.lora ? torch_type(options_.torch.type) : master_type(options_.torch.type);
  }

  void begin_adapter() {
    const auto idle = [&](const Route& route) { return route.cost() == files_.config.depth(); };
    if (responses_alone() &&
        (options_.routes.empty() || std::ranges::any_of(options_.routes, idle))) {
      throw InputError(
          "an adapter of routed rows does nothing at full depth: expected routes that leave layers "
          "out");
    }
    std::vector<LayerIndex> layers;
    for (LayerIndex layer{0}; layer.value < files_.config.depth(); ++layer) {
      if (!responses_alone() || some_route_runs(layer)) layers.push_back(layer);
    }
    lora_.emplace(files_.config, layers, options_.lora->rank, options_.lora->alpha, options_.seed,
                  at::TensorOptions().dtype(master_type(options_.torch.type)).device(device_));
    if (options_.lora->start) take_factors(*options_.lora->start);
    trained_ = lora_->by_name(files_.config);
    untrained_ = decoder_;
    decoder_ = untrained_->adapted(*lora_);
  }

  [[nodiscard]] bool some_route_runs(LayerIndex layer) const {
    return std::ranges::any_of(options_.routes,
                               [&](const Route& route) { return route.runs(layer); });
  }

  // Whether what is trained leaves prompts as they were.
  [[nodiscard]] bool responses_alone() const {
    return options_.lora && options_.lora->rows == AdapterRows::routed;
  }

  static std::string factor_name(const LoraTensors& map, char factor) {
    return std::to_string(map.layer.value) + "." + std::to_string(static_cast<int>(map.role)) +
           factor;
  }

  // Begins with an adapter's factors where it has some.
  void take_factors(const LoraAdapter& adapter) {
    const c10::NoGradGuard guard;
    for (const LoraTensors& map : lora_->maps()) {
      const std::optional<LoraFactors>& factors = adapter.layers.at(map.layer.index())[map.role];
      if (!factors) continue;
      if (factors->rank() != options_.lora->rank ||
          factors->scale != static_cast<float>(lora_->scale())) {
        const auto words = [](std::size_t rank, double scale) {
          return "rank " + std::to_string(rank) + " and scale " + std::to_string(scale);
        };
        throw InputError(adapter.path + ": " + module_path(files_.config, map.role, map.layer) +
                         " has factors of " + words(factors->rank(), factors->scale) +
                         "; expected " + words(options_.lora->rank, lora_->scale()) +
                         ", since training has one of each for all maps");
      }
      at::Tensor a = map.a;
      a.copy_(read_tensor(factors->a));
      const at::Tensor b = read_tensor(factors->b).to(map.b.options());
      const std::vector<std::int64_t> rows = transformers_order(map);
      at::Tensor into = map.b;
      if (rows.empty()) {
        into.copy_(b);
      } else {
        into.index_copy_(0, index_tensor(rows, device_), b);
      }
    }
  }

  // B with its outputs as transformers' modules have them.
  [[nodiscard]] at::Tensor in_transformers_order(const LoraTensors& map) const {
    const std::vector<std::int64_t> rows = transformers_order(map);
    return rows.empty() ? map.b : map.b.detach().index_select(0, index_tensor(rows, device_));
  }

  // Which of a map's outputs stands at each place in transformers' module: GGUF files may have the
  // rows of query and key weights in another order. Empty: the same one.
  [[nodiscard]] std::vector<std::int64_t> transformers_order(const LoraTensors& map) const {
    const ModelConfig& config = files_.config;
    if (map.role != LinearRole::query && map.role != LinearRole::key) return {};
    const std::size_t heads = map.role == LinearRole::query ? config.heads : config.kv_heads;
    const std::vector<std::uint32_t> order =
        pairing_order(config.pairing, RotaryPairing::halves, heads, config.head_dim);
    return {order.begin(), order.end()};
  }

  // Every sequence of a step takes the same route, so that what it skips is not computed.
  [[nodiscard]] const Route* draw_route() const {
    if (options_.routes.empty()) return nullptr;
    RandomStream random(
        {.seed = options_.seed, .purpose = RandomPurpose::training_route, .sequence = steps_});
    return &options_.routes[random.below(options_.routes.size())];
  }

  // Layers by what is trained of them.
  void find_layers() {
    if (!lora_) {
      layers_ = layer_tensors(files_, trained_);
      return;
    }
    layers_.resize(files_.config.layers);
    for (const LoraTensors& map : lora_->maps()) {
      layers_[map.layer.index()].push_back(map.a);
      layers_[map.layer.index()].push_back(map.b);
    }
  }

  // The optimiser then holds nothing for layers that no route runs.
  void leave_out_unused_layers() {
    if (options_.routes.empty()) return;
    for (LayerIndex layer{0}; layer.value < files_.config.depth(); ++layer) {
      if (some_route_runs(layer)) continue;
      for (const at::Tensor& tensor : layers_[layer.index()]) {
        std::erase_if(trained_, [&](const auto& entry) { return entry.second.is_same(tensor); });
      }
    }
  }

  // By layer whether a step on this route may give gradients to it.
  [[nodiscard]] std::vector<bool> taking_gradients(const Route* route) const {
    const bool all = options_.skipped == SkippedLayers::trained && !responses_alone();
    std::vector<bool> taking;
    for (LayerIndex layer{0}; layer.value < files_.config.depth(); ++layer) {
      taking.push_back(all || route == nullptr || route->runs(layer));
    }
    return taking;
  }

  void freeze_all_but(const Route* route) {
    for (LayerIndex layer{0}; layer.value < files_.config.depth(); ++layer) {
      const bool runs = route == nullptr || route->runs(layer);
      for (at::Tensor& tensor : layers_[layer.index()]) tensor.set_requires_grad(runs);
    }
  }

  // Some rows as sequences: the last token of each predicts nothing that is known.
  struct Batch {
    std::vector<TrainingSequence> sequences;
    std::vector<std::int64_t> predicting;  // of all sequences' tokens those that predict responses
    std::vector<std::int64_t> labels;      // what they predict
    std::vector<std::size_t> first;        // of these the first of each sequence
    std::int64_t rows = 0;
    std::deque<Route> kept;  // what layer dropout leaves; sequences point to them
  };
  static void add(Batch& batch, const TrainingExample& example, std::size_t row, const Route* route,
                  const Route* kept) {
    const std::size_t inputs = example.tokens.size() - 1;
    batch.sequences.push_back({.tokens = std::span(example.tokens).first(inputs),
                               .prompt = example.prompt,
                               .route = route,
                               .kept = kept,
                               .row = row});
    batch.first.push_back(batch.labels.size());
    for (std::size_t t = example.prompt; t < example.tokens.size(); ++t) {
      batch.predicting.push_back(batch.rows + static_cast<std::int64_t>(t) - 1);
      batch.labels.push_back(example.tokens[t].value);
    }
    batch.rows += static_cast<std::int64_t>(inputs);
  }
  [[nodiscard]] Batch batch_of(const std::vector<std::size_t>& rows, const Route* route) const {
    Batch batch;
    for (const std::size_t row : rows) {
      if (options_.layer_dropout > 0) batch.kept.push_back(draw_kept(row));
      add(batch, examples_[row], row, route, batch.kept.empty() ? nullptr : &batch.kept.back());
    }
    return batch;
  }

  // All layers but those that are dropped for a row in this step.
  [[nodiscard]] Route draw_kept(std::size_t row) const {
    std::vector<LayerIndex> layers{LayerIndex{0}};
    for (LayerIndex layer{1}; layer.value < files_.config.depth(); ++layer) {
      RandomStream random({.seed = options_.seed,
                           .purpose = RandomPurpose::layer_dropout,
                           .sequence = row,
                           .position = static_cast<std::uint32_t>(steps_),
                           .layer = static_cast<std::uint32_t>(layer.value)});
      if (random.uniform() >= options_.layer_dropout) layers.push_back(layer);
    }
    return Route::of(layers, files_.config.depth());
  }

  // The loss over the response tokens of some rows, divided by `tokens`, whose gradients it takes.
  double train_on(const Batch& batch, const Dropout& dropout, double tokens) const {
    const DetachedPassOptions options{.prompts = nullptr,
                                      .dropout = options_.dropout.any() ? &dropout : nullptr,
                                      .activations = options_.activations};
    if (responses_alone()) return responses_loss(batch, options, tokens);
    const DetachedPass pass = run_detached_pass(decoder_, batch.sequences, options);
    const double loss = loss_of(predictions(decoder_, batch, pass.states), tokens);
    pass.backward();
    return loss;
  }

  // Final states, what reads them, and what they should predict.
  struct Predictions {
    const Decoder* decoder = nullptr;
    at::Tensor states;             // [any][width]
    at::Tensor rows;               // those of them that predict: [predictions]
    at::Tensor labels;             // [predictions], or:
    at::Tensor full = {};          // the full model's states, [any][width]
    at::Tensor rows_of_full = {};  // [predictions]
  };

  // Of the states that a pass over whole sequences gave.
  [[nodiscard]] Predictions predictions(const Decoder& decoder, const Batch& batch,
                                        const at::Tensor& states) const {
    const at::Tensor rows = index_tensor(batch.predicting, device_);
    const at::Tensor labels = index_tensor(batch.labels, device_);
    if (options_.target == TrainingTarget::labels) return {&decoder, states, rows, labels};
    std::vector<TrainingSequence> sequences = batch.sequences;
    for (TrainingSequence& sequence : sequences) sequence.route = sequence.kept = nullptr;
    const c10::NoGradGuard guard;
    const at::Tensor full = run_training_pass(*untrained_, sequences).states;
    return {&decoder, states, rows, labels, full, rows};
  }

  // The training's loss where the prompts are as they were: they run once, without gradients. So
  // does what predicts the first token of a response.
  [[nodiscard]] double responses_loss(const Batch& batch, DetachedPassOptions options,
                                      double tokens) const {
    std::vector<std::int64_t> later;  // what predicts the responses' tokens after their first
    std::vector<std::int64_t> later_labels;
    std::vector<std::int64_t> first_labels;
    for (std::size_t i = 0, s = 0; i < batch.labels.size(); ++i) {
      if (s < batch.first.size() && batch.first[s] == i) {
        first_labels.push_back(batch.labels[i]);
        ++s;
      } else {
        later.push_back(batch.predicting[i]);
        later_labels.push_back(batch.labels[i]);
      }
    }
    const bool to_labels = options_.target == TrainingTarget::labels;
    PassMemory memory;
    at::Tensor full;
    std::vector<std::int64_t> ends;  // of the prompts
    {
      const c10::NoGradGuard guard;
      std::vector<TrainingSequence> sequences = batch.sequences;
      std::int64_t end = 0;
      for (TrainingSequence& sequence : sequences) {
        sequence.route = sequence.kept = nullptr;
        if (!to_labels) continue;
        sequence.tokens = sequence.tokens.first(sequence.prompt);
        end += static_cast<std::int64_t>(sequence.prompt);
        ends.push_back(end - 1);
      }
      full = run_training_pass(*untrained_, sequences, memory).states;
    }
    double loss = 0;
    if (to_labels) {
      loss += loss_of(
          {&*untrained_, full, index_tensor(ends, device_), index_tensor(first_labels, device_)},
          tokens);
    }
    if (later.empty()) return loss;
    options.prompts = &memory;
    const DetachedPass pass = run_detached_pass(decoder_, batch.sequences, options);
    const at::Tensor of_full = index_tensor(later, device_);
    Predictions of_later{&decoder_, pass.states, at::arange(pass.states.size(0), of_full.options()),
                         index_tensor(later_labels, device_)};
    if (!to_labels) {
      of_later.full = full;
      of_later.rows_of_full = of_full;
    }
    loss += loss_of(of_later, tokens);
    if (pass.states.grad().defined()) pass.backward();
    return loss;
  }

  // Summed over predictions and divided by `tokens`. Takes gradients as far as the states, and of
  // what reads them. Some rows at a time: the logits of all are gigabytes, and memory that is asked
  // for anew each time costs as much as what is computed in it.
  [[nodiscard]] double loss_of(const Predictions& predictions, double tokens) const {
    double sum = 0;
    const std::int64_t count = predictions.rows.size(0);
    const std::int64_t most = logit_rows();
    for (std::int64_t begin = 0; begin < count; begin += most) {
      const std::int64_t part = std::min(most, count - begin);
      const auto logits = [&](const Decoder& decoder, const at::Tensor& states,
                              const at::Tensor& rows) {
        return decoder.head(states.index_select(0, rows.narrow(0, begin, part)));
      };
      const at::Tensor ours = logits(*predictions.decoder, predictions.states, predictions.rows);
      at::Tensor loss;
      if (predictions.full.defined()) {
        at::Tensor full;
        {
          const c10::NoGradGuard guard;
          full = logits(*untrained_, predictions.full, predictions.rows_of_full);
        }
        loss = divergence_and_gradient(ours.detach(), full, 1 / tokens);
      } else {
        const at::Tensor labels = predictions.labels.narrow(0, begin, part);
        loss = cross_entropy_and_gradient(ours.detach(), labels, 1 / tokens);
      }
      if (ours.requires_grad()) ours.backward(ours.detach());
      sum += loss.item<double>();
    }
    return sum;
  }

  // Of how many predictions there are logits at a time. Where the head is trained each time has the
  // cost of adding to its gradient, on a GPU that of waiting for it.
  [[nodiscard]] std::int64_t logit_rows() const {
    if (options_.logit_rows) return static_cast<std::int64_t>(*options_.logit_rows);
    constexpr std::int64_t bytes = 30 << 20;  // the C library's malloc keeps these
    if (device_.is_cuda() || !options_.lora) return 1024;
    const auto row = static_cast<std::int64_t>(files_.config.vocabulary * sizeof(float));
    return std::max<std::int64_t>(16, bytes / row);
  }

  std::unique_ptr<Ranks> alone_;  // unless it is one of several
  Ranks& ranks_;
  ModelFiles files_;
  std::vector<TrainingExample> examples_;
  FinetuningOptions options_;
  at::Device device_;
  Parameters parameters_;
  Decoder decoder_;
  std::optional<Decoder> untrained_;  // the model before training, where it is needed
  std::optional<LoraParameters> lora_;
  std::map<std::string, at::Tensor> trained_;    // what changes
  std::vector<std::vector<at::Tensor>> layers_;  // by layer what may change
  std::optional<AdamW> optimizer_;
  std::optional<GradientSum> gradients_;
  std::uint64_t steps_ = 0;
  std::optional<StepBatches> batches_;
};

Finetuning::Finetuning(ModelFiles files, std::vector<TrainingExample> examples,
                       FinetuningOptions options)
    : implementation_(std::make_unique<Implementation>(std::move(files), std::move(examples),
                                                       std::move(options), nullptr)) {}

Finetuning::Finetuning(ModelFiles files, std::vector<TrainingExample> examples,
                       FinetuningOptions options, Ranks& ranks)
    : implementation_(std::make_unique<Implementation>(std::move(files), std::move(examples),
                                                       std::move(options), &ranks)) {}

Finetuning::~Finetuning() = default;

std::uint64_t Finetuning::steps() const { return implementation_->steps(); }

StepReport Finetuning::step() { return implementation_->step(); }

StepReport Finetuning::step(std::span<const std::vector<std::size_t>> micro_batches) {
  return implementation_->step(micro_batches);
}

double Finetuning::evaluate(std::span<const TrainingExample> examples, const Route* route) const {
  return implementation_->evaluate(examples, route);
}

void Finetuning::save(const std::filesystem::path& folder, const std::string& description) const {
  implementation_->save(folder, description);
}

bool Finetuning::load(const std::filesystem::path& folder, const std::string& description) {
  return implementation_->load(folder, description);
}

void Finetuning::write_model(const std::filesystem::path& path) const {
  implementation_->write_model(path);
}

ModelFiles Finetuning::trained_model() const { return implementation_->trained_model(); }

std::optional<LoraAdapter> Finetuning::trained_adapter() const {
  return implementation_->trained_adapter();
}

void Finetuning::write_adapter(const std::filesystem::path& folder,
                               const std::string& base_sha256) const {
  implementation_->write_adapter(folder, base_sha256);
}

}  // namespace fathom
