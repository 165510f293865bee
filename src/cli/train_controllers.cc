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
#include "base/error.h"
#include "base/progress.h"
#include "base/sha256.h"
#include "base/stopwatch.h"
#include "cli/data_options.h"
#include "cli/interrupt.h"
#include "cli/logged_training.h"
#include "cli/model_options.h"
#include "cli/train_examples.h"
#include "cli/train_ranks.h"
#include "cli/training_options.h"
#include "data/row_log.h"
#include "formats/json_file.h"
#include "model/controller_file.h"
#include "model/model_hash.h"
#include "train/batches.h"
#include "train/controller_training.h"
#include "train/early_stopping.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t evaluations_per_epoch = 3;
constexpr std::size_t largest_summary = std::size_t{1} << 20;

struct Options : TrainingOptions {
  ModelOption model;
  DataOptions data;
  std::string out;
  std::vector<double> alphas{2, 4, 6, 10};
  std::string input = "hidden";
  std::string backbone = "frozen";
  std::string target = "teacher";
  std::string cost_term = "mean";
  std::optional<double> controller_learning_rate;
  double epochs = 3;
  std::uint64_t patience = 1;
  std::size_t held_out = 64;
};

ControllerTrainingOptions training_options(const Options& options, double alpha,
                                           std::uint64_t steps) {
  return {
      .torch = options.torch(),
      .schedule = options.schedule(steps),
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
  json["controller_learning_rate"] =
      options.controller_learning_rate.value_or(options.learning_rate);
  options.describe(json);
  json["batch"] = options.batch * ranks;
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
    const std::uint64_t steps = options_.steps_of(options_.epochs, examples.size(), ranks_.size());
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
    const LoggedTraining logged = metrics ? LoggedTraining(*metrics) : LoggedTraining();
    const fs::path checkpoint = folder_ / "checkpoint";
    if (training.load(checkpoint, described_.dump()) && ranks_.is_first()) {
      fmt::print(stderr, "goes on after step {} of {}\n", training.steps(), steps);
    }
    EarlyStopping stopping(options_.patience);
    for (const auto& [step, row] : evaluations_of_first(ranks_, logged)) {
      if (step <= training.steps()) stopping.add(step, loss_in(row.at("evaluation"), "loss"));
    }
    const auto ended = [&] { return training.steps() >= steps || stopping.stops(); };
    std::optional<Progress> progress;
    if (ranks_.is_first()) {
      progress.emplace(fmt::format("steps at alpha {}", alpha_), steps, training.steps());
    }
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
        if (metrics && !logged.evaluations.contains(report.step)) {
          metrics->append(evaluation_row(report.step, loss));
        }
        // Before the checkpoint: a run that is killed in between writes the same again.
        if (stopping.add(report.step, loss.loss) && ranks_.is_first()) {
          write_controllers(folder_ / "controller.safetensors",
                            {.controllers = training.controllers(),
                             .alpha = alpha_,
                             .model_sha256 = model_sha256_});
          if (joint) training.write_model(folder_ / (is_folder ? "model" : "model.gguf"));
        }
        training.save(checkpoint, described_.dump());
      } else if (report.step % options_.save_every == 0) {
        training.save(checkpoint, described_.dump());
      }
    }
    if (!ended()) {
      training.save(checkpoint, described_.dump());
      if (ranks_.is_first()) {
        fmt::print(stderr, "stopped after step {} of {} at alpha {}; the same command goes on\n",
                   training.steps(), steps, alpha_);
      }
      return false;
    }
    if (!ranks_.is_first()) return true;
    const Json summary{{"options", described_},
                       {"steps", training.steps()},
                       {"best_step", stopping.best_step().value_or(0)}};
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
  std::vector<Example> rows = options.data.read();
  const std::vector<Example> held_out =
      hold_out(rows, options.held_out, options.seed, "--held-out");
  std::vector<double> alphas = options.alphas;
  std::sort(alphas.begin(), alphas.end());
  if (std::adjacent_find(alphas.begin(), alphas.end()) != alphas.end()) {
    throw InputError("--alpha: a number is named twice");
  }
  set_torch_threads(options.threads);
  const StopFlag& stop = stop_on_interrupt_or_launcher();
  std::vector<TrainingExample> examples, held_out_examples;
  std::optional<Json> described;
  std::string sha256;
  for (const double alpha : alphas) {
    ModelFiles files = options.model.open();
    if (!described) {
      sha256 = model_sha256(files.path);
      described = description(options, sha256, ranks.size());
      require_same(ranks, described->dump() + nlohmann::json(alphas).dump());
      const PromptMaker prompts(files, options.data.format());
      const auto say = [&](const std::string& line) {
        if (ranks.is_first()) fmt::print(stderr, "{}\n", line);
      };
      examples = examples_of(rows, files, prompts, options.max_tokens, say);
      held_out_examples = examples_of(held_out, files, prompts, options.max_tokens, say);
    }
    AlphaRun training(options, alpha, *described, sha256, ranks);
    if (!training.is_there() &&
        !training.run(std::move(files), examples, held_out_examples, stop)) {
      return exit_interrupted;
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
  command
      ->add_option("--held-out", options->held_out,
                   "rows that are not trained on, to evaluate with")
      ->check(CLI::Range(std::int64_t{1}, most))
      ->capture_default_str();
  options->add_to(*command);
  add_example(*command,
              "fathom-torch train controllers --data rows.jsonl --alpha 2,4,6,10 --input hidden "
              "--out runs/controllers-hidden");
  return {command,
          [options] { return run_on_ranks([&](Ranks& ranks) { return run(*options, ranks); }); }};
}

}  // namespace fathom
