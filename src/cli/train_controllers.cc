// `train controllers` of fathom-torch.
#include "cli/train_controllers.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/available_cpus.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/sha256.h"
#include "base/stopwatch.h"
#include "cli/data_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/train_examples.h"
#include "cli/train_ranks.h"
#include "data/row_log.h"
#include "formats/json_file.h"
#include "model/controller_file.h"
#include "model/model_hash.h"
#include "train/batches.h"
#include "train/controller_training.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t evaluations_per_epoch = 3;
constexpr std::size_t largest_summary = std::size_t{1} << 20;

struct Options {
  ModelOption model;
  DataOptions data;
  std::string out;
  std::vector<double> alphas{2, 4, 6, 10};
  std::string input = "hidden";
  std::string backbone = "frozen";
  std::string target = "teacher";
  std::string cost_term = "mean";
  double learning_rate = 5e-5;
  std::optional<double> controller_learning_rate;
  double weight_decay = 0.01;
  double clip = 1;
  double warmup = 0.03;
  double epochs = 3;
  std::size_t patience = 1;
  std::size_t held_out = 64;
  std::size_t batch = 8;
  std::size_t accumulate = 1;
  std::size_t max_tokens = 512;
  std::uint64_t save_every = 100;
  std::uint64_t seed = 0;
  std::string device = "cpu";
  std::string dtype = "float32";
  int threads = 0;
};

ControllerTrainingOptions training_options(const Options& options, double alpha,
                                           std::uint64_t steps) {
  const auto warmup = static_cast<std::uint64_t>(options.warmup * static_cast<double>(steps));
  return {
      .torch = {.device = parse_torch_device(options.device),
                .type = parse_torch_type(options.dtype)},
      .schedule = {.peak = options.learning_rate, .warmup = warmup, .steps = steps},
      .controller_learning_rate = options.controller_learning_rate.value_or(options.learning_rate),
      .weight_decay = options.weight_decay,
      .clip = options.clip,
      .batch = options.batch,
      .accumulate = options.accumulate,
      .input = parse_controller_input(options.input),
      .backbone = options.backbone == "joint" ? Backbone::joint : Backbone::frozen,
      .target = options.target == "labels" ? TrainingTarget::labels : TrainingTarget::full_model,
      .cost_term = options.cost_term == "sum" ? CostTerm::sum : CostTerm::mean,
      .alpha = alpha,
      .seed = options.seed};
}

// What two runs must have in common for one to go on where the other stopped, for any alpha.
Json description(const Options& options, const std::string& sha256, std::size_t ranks) {
  Json json{{"model", sha256},
            {"data", sha256_of_file(options.data.path)},
            {"limit", options.data.limit}};
  options.data.describe(json);
  json["held_out"] = options.held_out;
  json["input"] = options.input;
  json["backbone"] = options.backbone;
  json["target"] = options.target;
  json["cost_term"] = options.cost_term;
  json["epochs"] = options.epochs;
  json["patience"] = options.patience;
  json["learning_rate"] = options.learning_rate;
  json["controller_learning_rate"] =
      options.controller_learning_rate.value_or(options.learning_rate);
  json["warmup"] = options.warmup;
  json["weight_decay"] = options.weight_decay;
  json["clip"] = options.clip;
  json["batch"] = options.batch * ranks;
  json["accumulate"] = options.accumulate;
  json["max_tokens"] = options.max_tokens;
  json["device"] = options.device;
  json["dtype"] = options.dtype;
  json["seed"] = options.seed;
  return json;
}

Json loss_json(const ControllerLoss& loss) {
  return {{"loss", loss.loss},
          {"prediction", loss.prediction},
          {"cost", loss.cost},
          {"mean_layers", loss.mean_layers}};
}

std::string step_row(const ControllerStep& report, double seconds) {
  Json json{{"step", report.step}};
  json.update(loss_json(report.loss));
  json["gradient_norm"] = report.gradient_norm;
  json["learning_rate"] = report.learning_rate;
  json["tokens"] = report.tokens;
  json["response_tokens"] = report.response_tokens;
  json["seconds"] = seconds;
  return json.dump();
}

std::string evaluation_row(std::uint64_t step, const ControllerLoss& loss) {
  Json json{{"step", step}};
  json["evaluation"] = loss_json(loss);
  return json.dump();
}

// The steps and evaluations that a run before this one has logged. One that was killed goes on
// after its last checkpoint; what it repeats gives what it gave.
struct Logged {
  std::uint64_t step = 0;
  std::uint64_t evaluation = 0;

  Logged() = default;
  explicit Logged(const RowLog& log) {
    log.read([&](const JsonLine& row) {
      const std::uint64_t number = JsonFields(row.place, row.value).require_unsigned("step");
      std::uint64_t& last = row.value.contains("evaluation") ? evaluation : step;
      last = std::max(last, number);
    });
  }
};

// The best of the losses so far, from 0.
std::size_t best_of(const std::vector<double>& evaluations) {
  return static_cast<std::size_t>(std::min_element(evaluations.begin(), evaluations.end()) -
                                  evaluations.begin());
}

/// The training for one alpha, in its folder.
class AlphaRun {
 public:
  AlphaRun(const Options& options, double alpha, Json described, const std::string& model_sha256,
           Ranks& ranks)
      : options_(options),
        ranks_(ranks),
        alpha_(alpha),
        described_(std::move(described)),
        model_sha256_(model_sha256),
        folder_(fs::path(options.out) / fmt::format("alpha-{}", alpha)) {
    described_["alpha"] = alpha;
  }

  // Whether it was finished before. Throws FileError if another one was.
  [[nodiscard]] bool is_there() const { return ranks_.any(ranks_.is_first() && find_summary()); }

  // Returns false if it was stopped.
  bool run(ModelFiles files, std::vector<TrainingExample> examples,
           std::vector<TrainingExample> held_out, const StopFlag& stop) {
    const std::uint64_t of_epoch =
        epoch_steps(examples.size(), options_.batch * ranks_.size(), options_.accumulate);
    const std::uint64_t steps = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(options_.epochs * static_cast<double>(of_epoch)));
    const bool is_folder = fs::is_directory(files.path);
    const bool joint = options_.backbone == "joint";
    ControllerTraining training(std::move(files), std::move(examples), std::move(held_out),
                                training_options(options_, alpha_, steps), ranks_);
    // The first rank alone has files, and says what happens.
    std::optional<RowLog> metrics;
    if (ranks_.is_first()) {
      std::error_code error;
      fs::create_directories(folder_, error);
      if (error) throw FileError(folder_.string(), "", "cannot be made: " + error.message());
      metrics.emplace(folder_ / "metrics.jsonl", R"({"step":)");
    }
    const Logged logged = metrics ? Logged(*metrics) : Logged();
    const fs::path checkpoint = folder_ / "checkpoint";
    std::vector<double> evaluations = training.load(checkpoint, described_.dump());
    if (metrics && training.steps() > 0) {
      fmt::print(stderr, "goes on after step {} of {}\n", training.steps(), steps);
    }
    const auto ended = [&] {
      return training.steps() >= steps ||
             (!evaluations.empty() &&
              evaluations.size() - 1 - best_of(evaluations) >= options_.patience);
    };
    std::optional<Progress> progress;
    if (metrics)
      progress.emplace(fmt::format("steps at alpha {}", alpha_), steps, training.steps());
    while (!ended() && !ranks_.any(stop)) {
      const Stopwatch watch;
      const ControllerStep report = training.step();
      if (metrics && report.step > logged.step) {
        metrics->append(step_row(report, watch.seconds()));
      }
      if (progress) progress->done(report.step);
      const auto thirds = [&](std::uint64_t step) {
        return step * evaluations_per_epoch / of_epoch;
      };
      if (thirds(report.step) > thirds(report.step - 1) || report.step == steps) {
        const ControllerLoss loss = training.evaluate();
        if (metrics && report.step > logged.evaluation) {
          metrics->append(evaluation_row(report.step, loss));
        }
        evaluations.push_back(loss.loss);
        // Before the checkpoint: a run that is killed in between writes the same again.
        if (ranks_.is_first() && best_of(evaluations) == evaluations.size() - 1) {
          write_controllers(folder_ / "controller.safetensors",
                            {.controllers = training.controllers(),
                             .alpha = alpha_,
                             .model_sha256 = model_sha256_});
          if (joint) training.write_model(folder_ / (is_folder ? "model" : "model.gguf"));
        }
        training.save(checkpoint, described_.dump(), evaluations);
      } else if (report.step % options_.save_every == 0) {
        training.save(checkpoint, described_.dump(), evaluations);
      }
    }
    if (!ended()) {
      training.save(checkpoint, described_.dump(), evaluations);
      if (ranks_.is_first()) {
        fmt::print(stderr, "stopped after step {} of {} at alpha {}; the same command goes on\n",
                   training.steps(), steps, alpha_);
      }
      return false;
    }
    if (!ranks_.is_first()) return true;
    const Json summary{{"options", described_},
                       {"steps", training.steps()},
                       {"evaluations", evaluations},
                       {"best_evaluation", best_of(evaluations) + 1}};
    write_file_atomically(folder_ / "training.json", summary.dump(1) + "\n");
    std::error_code ignored;  // it takes room, and nothing else
    fs::remove_all(checkpoint, ignored);
    return true;
  }

  [[nodiscard]] std::string controllers() const {
    return (folder_ / "controller.safetensors").string();
  }

 private:
  [[nodiscard]] bool find_summary() const {
    const fs::path path = folder_ / "training.json";
    if (!fs::exists(path)) return false;
    const nlohmann::json summary = read_json_object(path, largest_summary);
    if (summary.value("options", nlohmann::json()) != nlohmann::json(described_)) {
      throw FileError(path.string(), "options",
                      "the training there is another one; give another --out");
    }
    return true;
  }

  const Options& options_;
  Ranks& ranks_;
  double alpha_;
  Json described_;
  std::string model_sha256_;
  fs::path folder_;
};

int run(const Options& options, Ranks& ranks) {
  if (options.out.empty()) throw InputError("train controllers needs --out DIR");
  const std::vector<Example> rows = options.data.read();
  if (rows.size() <= options.held_out) {
    throw InputError(fmt::format("{} rows found; {} of them are held out, and none is left",
                                 rows.size(), options.held_out));
  }
  std::vector<double> alphas = options.alphas;
  std::sort(alphas.begin(), alphas.end());
  if (std::adjacent_find(alphas.begin(), alphas.end()) != alphas.end()) {
    throw InputError("--alpha: a number is named twice");
  }
  set_torch_threads(options.threads);
  const StopFlag& stop = stop_on_interrupt_or_launcher();
  std::optional<std::vector<TrainingExample>> examples;
  std::optional<Json> described;
  std::string sha256;
  for (const double alpha : alphas) {
    ModelFiles files = options.model.open();
    if (!described) {
      sha256 = model_sha256(files.path);
      described = description(options, sha256, ranks.size());
      require_same(ranks, described->dump() + nlohmann::json(alphas).dump());
      examples = examples_of(rows, files, PromptMaker(files, options.data.format()),
                             options.max_tokens, [&](const std::string& line) {
                               if (ranks.is_first()) fmt::print(stderr, "{}\n", line);
                             });
    }
    AlphaRun training(options, alpha, *described, sha256, ranks);
    if (!training.is_there()) {
      const auto middle = examples->end() - static_cast<std::ptrdiff_t>(options.held_out);
      if (!training.run(std::move(files), {examples->begin(), middle}, {middle, examples->end()},
                        stop)) {
        return exit_interrupted;
      }
    }
    if (ranks.is_first()) fmt::print("{}\n", training.controllers());
  }
  return 0;
}

}  // namespace

Command add_train_controllers(CLI::App& train) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = train.add_subcommand(
      "controllers",
      "Train skip controllers, which let each token choose its layers [Glavas24 3.2]");
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  options->model.add_to(*command);
  options->data.add_to(*command);
  command->add_option("--out", options->out,
                      "folder for alpha-A/controller.safetensors, for each A of --alpha, with "
                      "metrics.jsonl and the model, if it is trained; a run that was stopped goes "
                      "on in it");
  command->add_option("--alpha", options->alphas, "weights of the cost, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command
      ->add_option("--input", options->input,
                   "what controllers look at: hidden, the state that enters the layer, or fixed, a "
                   "constant")
      ->check(CLI::IsMember({"hidden", "fixed"}))
      ->capture_default_str();
  command
      ->add_option("--backbone", options->backbone,
                   "joint: the model's weights are trained, too; frozen: they stay")
      ->check(CLI::IsMember({"joint", "frozen"}))
      ->capture_default_str();
  command
      ->add_option("--target", options->target,
                   "teacher: the predictions of the model as it is now, at full depth; labels: the "
                   "answers' tokens")
      ->check(CLI::IsMember({"teacher", "labels"}))
      ->capture_default_str();
  command
      ->add_option("--cost-term", options->cost_term,
                   "mean or sum over the layers of the probability to run them")
      ->check(CLI::IsMember({"mean", "sum"}))
      ->capture_default_str();
  command->add_option("--learning-rate", options->learning_rate, "at its highest")
      ->check(CLI::Range(1e-12, 1.0))
      ->capture_default_str();
  command
      ->add_option("--controller-lr", options->controller_learning_rate,
                   "of the controllers; default: that of --learning-rate")
      ->check(CLI::Range(1e-12, 10.0));
  command->add_option("--epochs", options->epochs, "how often each row is trained on, at most")
      ->check(CLI::Range(0.001, 3.0))
      ->capture_default_str();
  command
      ->add_option("--patience", options->patience,
                   "evaluations, three an epoch, without a lower loss than before until it ends")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--held-out", options->held_out, "the last N rows are to evaluate with")
      ->check(CLI::Range(std::int64_t{1}, most))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "rows that are computed together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--accumulate", options->accumulate, "batches of a step")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--max-tokens", options->max_tokens, "of a row; a prompt gets a quarter")
      ->check(CLI::Range(std::int64_t{4}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--warmup", options->warmup, "share of the steps over which rates rise")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--weight-decay", options->weight_decay, "of matrices")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command->add_option("--clip", options->clip, "norm that gradients are clipped to; 0: none")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--save-every", options->save_every, "steps between checkpoints")
      ->check(CLI::Range(std::int64_t{1}, most))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of the rows' order and the gates' draws")
      ->check(CLI::Range(most))
      ->capture_default_str();
  command->add_option("--device", options->device, "cpu or cuda")->capture_default_str();
  command
      ->add_option("--dtype", options->dtype,
                   "of products: float32 or bfloat16; weights are kept in float32")
      ->capture_default_str();
  options->threads = available_cpus();
  command->add_option("--threads", options->threads, "threads to compute with")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  add_example(*command,
              "fathom-torch train controllers --data rows.jsonl --alpha 2,4,6,10 --input hidden "
              "--out runs/controllers-hidden");
  return {command,
          [options] { return run_on_ranks([&](Ranks& ranks) { return run(*options, ranks); }); }};
}

}  // namespace fathom
