// `train finetune` of fathom-torch.
#include "cli/train_finetune.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/sha256.h"
#include "base/stopwatch.h"
#include "cli/data_options.h"
#include "cli/finetuning_evaluation.h"
#include "cli/interrupt.h"
#include "cli/logged_training.h"
#include "cli/model_options.h"
#include "cli/train_examples.h"
#include "cli/train_ranks.h"
#include "cli/training_options.h"
#include "cli/training_report.h"
#include "cli/version.h"
#include "data/prompt_maker.h"
#include "data/row_log.h"
#include "depth/policy.h"
#include "depth/selector.h"
#include "model/model_hash.h"
#include "nn/dropout_rates.h"
#include "report/report.h"
#include "train/finetuning.h"

namespace fathom {
namespace {

struct Options : TrainingOptions {
  ModelOption model;
  DataOptions data;
  RankingOption ranking;
  std::string out, depths;
  double epochs = 1;
  std::uint64_t steps = 0;
  std::size_t lora_rank = 0;  // 0: no adapter
  std::optional<double> lora_alpha;
  std::string lora_rows = "routed";
  std::string lora_dtype = "float32";
  bool distill = false;
  bool freeze_skipped = false;
  double layer_dropout = 0;
  bool no_dropout = false;
  bool recompute = false;
  std::size_t eval_rows = 0;
  EvaluationOptions evaluation;
  std::string command_line;
};

// Routes of --depths. A random policy would be another route for each sequence.
std::vector<NamedRoute> named_routes_of(const Options& options, const ModelFiles& files) {
  std::vector<NamedRoute> routes;
  if (options.depths.empty()) return routes;
  const std::vector<DepthPolicy> policies = parse_policies(options.depths);
  const std::optional<Ranking> ranking = options.ranking.find(files, policies);
  for (const DepthPolicy& policy : policies) {
    if (std::holds_alternative<RandomLayers>(policy) ||
        std::holds_alternative<RandomFreeLayers>(policy)) {
      throw InputError(
          fmt::format("--depths {}: expected policies that are one route each", to_string(policy)));
    }
    routes.push_back(
        {to_string(policy), resolve(policy, files.config.depth(), options.seed, 0, ranking)});
  }
  return routes;
}

std::vector<Route> routes_of(const std::vector<NamedRoute>& named) {
  std::vector<Route> routes;
  for (const NamedRoute& each : named) routes.push_back(each.route);
  return routes;
}

// The adapter that is trained, if one is. Where it leaves full depth as it is there is nothing to
// train, so such routes are not drawn.
std::optional<LoraOptions> lora_of(const Options& options, const ModelFiles& files,
                                   std::vector<NamedRoute>& routes) {
  LoraOptions lora{.stored = options.lora_dtype == "float16" ? TensorType::F16 : TensorType::F32};
  if (!options.model.adapter.empty()) {
    LoraAdapter start = LoraAdapter::open(options.model.adapter, files.config);
    check_adapter_base(start, files.path);
    lora.rank = start.settings.rank;
    lora.alpha = start.settings.alpha;
    lora.rows = start.settings.rows;
    lora.start = std::move(start);
  } else if (options.lora_rank > 0) {
    lora.rank = options.lora_rank;
    lora.alpha = options.lora_alpha.value_or(2 * static_cast<double>(options.lora_rank));
    lora.rows = options.lora_rows == "all" ? AdapterRows::all : AdapterRows::routed;
  } else {
    return std::nullopt;
  }
  if (lora.rows == AdapterRows::all) return lora;
  std::erase_if(routes,
                [](const NamedRoute& each) { return each.route.cost() == each.route.depth(); });
  if (routes.empty()) {
    throw InputError(
        "an adapter of routed rows acts on no token at full depth; expected --depths with routes "
        "that leave layers out, or --lora-rows all");
  }
  return lora;
}

// What two runs must have in common for one to go on where the other stopped.
std::string description(const Options& options, const std::string& model_hash, std::size_t ranks) {
  nlohmann::ordered_json json{{"model", model_hash},
                              {"data", sha256_of_file(options.data.path)},
                              {"limit", options.data.limit}};
  options.data.describe(json);
  json["depths"] = options.depths;
  json["ranking"] = options.ranking.path.empty() ? "" : sha256_of_file(options.ranking.path);
  json["distill"] = options.distill;
  json["lora_rank"] = options.lora_rank;
  if (options.lora_rank > 0) {
    json["lora_alpha"] = options.lora_alpha.value_or(0);
    json["lora_rows"] = options.lora_rows;
  }
  if (!options.model.adapter.empty()) json["adapter"] = model_sha256(options.model.adapter);
  json["freeze_skipped"] = options.freeze_skipped;
  json["layer_dropout"] = options.layer_dropout;
  json["dropout"] = !options.no_dropout;
  json["eval_rows"] = options.eval_rows;
  if (options.eval_rows > 0) {
    json["eval_every"] = options.evaluation.every;
    json["eval_generate"] = options.evaluation.generate;
    json["eval_tokens"] = options.evaluation.max_tokens;
    json["patience"] = options.evaluation.patience.value_or(0);
  }
  json["epochs"] = options.epochs;
  json["steps"] = options.steps;
  options.describe(json);
  json["batch"] = options.batch * ranks;
  return json.dump();
}

std::string metrics_row(const StepReport& report, double seconds) {
  return nlohmann::ordered_json{{"step", report.step},
                                {"loss", report.loss},
                                {"gradient_norm", report.gradient_norm},
                                {"learning_rate", report.learning_rate},
                                {"layers", report.cost},
                                {"tokens", report.tokens},
                                {"response_tokens", report.response_tokens},
                                {"seconds", seconds}}
      .dump();
}

void write_report(const std::filesystem::path& out, const RowLog& metrics, const Options& options,
                  const std::string& model) {
  std::vector<nlohmann::json> rows;
  metrics.read([&](const JsonLine& row) { rows.push_back(row.value); });
  Report report = training_report(rows);
  report.facts = {{"model", model},
                  {"data", std::filesystem::path(options.data.path).filename().string()},
                  {"depths", options.depths.empty() ? "full" : options.depths}};
  report.command = options.command_line;
  report.provenance = {{"fathom", std::string(version())},
                       {"seed", fmt::format("{}", options.seed)}};
  write_file_atomically(out / "training.html", to_html(report));
}

FinetuningOptions training_options_of(const Options& options, const ModelFiles& files,
                                      std::vector<NamedRoute>& routes, std::size_t rows,
                                      std::size_t ranks) {
  FinetuningOptions result{
      .torch = options.torch(),
      .weight_decay = options.weight_decay,
      .clip = options.clip,
      .batch = options.batch,
      .accumulate = options.accumulate,
      .target = options.distill ? TrainingTarget::full_model : TrainingTarget::labels,
      .skipped = options.freeze_skipped ? SkippedLayers::frozen : SkippedLayers::trained,
      .layer_dropout = options.layer_dropout,
      .activations = options.recompute ? ActivationStorage::recomputed : ActivationStorage::kept,
      .seed = options.seed};
  if (!options.no_dropout) result.dropout = dropout_rates(files);
  result.lora = lora_of(options, files, routes);
  result.routes = routes_of(routes);
  result.schedule = options.schedule(
      options.steps > 0 ? options.steps : options.steps_of(options.epochs, rows, ranks));
  return result;
}

int run_finetune(const Options& options, Ranks& ranks) {
  namespace fs = std::filesystem;
  if (options.out.empty()) throw InputError("train finetune needs --out DIR");
  if (options.evaluation.patience && options.eval_rows == 0) {
    throw InputError("--patience goes with --eval-rows");
  }
  if (options.evaluation.generate > options.eval_rows) {
    throw InputError(fmt::format("--eval-generate {}: expected at most the {} of --eval-rows",
                                 options.evaluation.generate, options.eval_rows));
  }
  // The first rank alone says what happens, and has files.
  const auto say = [&](const std::string& line) {
    if (ranks.is_first()) fmt::print(stderr, "{}\n", line);
  };
  std::vector<Example> rows = options.data.read();
  const std::vector<Example> held_out =
      hold_out(rows, options.eval_rows, options.seed, "--eval-rows");
  ModelFiles files = options.model.open();
  const PromptMaker prompts(files, options.data.format());
  std::vector<TrainingExample> examples =
      examples_of(rows, files, prompts, options.max_tokens, say);
  std::vector<NamedRoute> routes = named_routes_of(options, files);
  const FinetuningOptions training_options =
      training_options_of(options, files, routes, examples.size(), ranks.size());
  const std::uint64_t steps = training_options.schedule.steps;
  set_torch_threads(options.threads);
  const std::string model_hash = model_sha256(files.path);
  const std::string described = description(options, model_hash, ranks.size());
  require_same(ranks, described);
  const std::string model_name = files.name;
  const bool is_folder = fs::is_directory(files.path);
  const fs::path out(options.out);
  FinetuningEvaluation evaluation(
      options.evaluation, examples_of(held_out, files, prompts, options.max_tokens, say),
      GenerationScore(generation_rows(held_out, prompts, options.evaluation.generate),
                      options.evaluation.max_tokens, options.batch, options.threads),
      routes, out / "best");
  Finetuning training(std::move(files), std::move(examples), training_options, ranks);

  std::optional<RowLog> metrics;
  if (ranks.is_first()) {
    std::error_code error;
    fs::create_directories(out, error);
    if (error) throw FileError(options.out, "", "cannot be made: " + error.message());
    metrics.emplace(out / "metrics.jsonl", R"({"step":)");
  }
  const fs::path checkpoint = out / "checkpoint";
  if (training.load(checkpoint, described)) {
    say(fmt::format("goes on after step {} of {}", training.steps(), steps));
  }
  const LoggedTraining logged = metrics ? LoggedTraining(*metrics) : LoggedTraining();
  const auto evaluations = evaluations_of_first(ranks, logged);
  for (const auto& [step, row] : evaluations) {
    if (step <= training.steps()) evaluation.recall(step, loss_in(row, "mean"));
  }
  const auto evaluate = [&] {
    if (!evaluation.is_due(training.steps(), steps)) return;
    const std::string row = evaluation.run(training, described, ranks);
    if (metrics && !evaluations.contains(training.steps())) metrics->append(row);
  };
  if (training.steps() == 0 && evaluations.empty()) evaluate();
  const StopFlag& stop = stop_on_interrupt_or_launcher();
  std::optional<Progress> progress;
  if (ranks.is_first()) progress.emplace("steps", steps, training.steps());
  // They stop after the same step, whichever of them was told to.
  while (training.steps() < steps && !evaluation.stops() && !ranks.any(stop)) {
    const Stopwatch watch;
    const StepReport report = training.step();
    const double seconds = watch.seconds();
    if (metrics && report.step > logged.step) metrics->append(metrics_row(report, seconds));
    if (progress) {
      progress->done(training.steps(), fmt::format("loss {:.4g}, {:.0f} tokens/s", report.loss,
                                                   static_cast<double>(report.tokens) / seconds));
    }
    evaluate();
    if (training.steps() % options.save_every == 0 && training.steps() < steps) {
      training.save(checkpoint, described);
    }
  }
  training.save(checkpoint, described);
  if (metrics) write_report(out, *metrics, options, model_name);
  if (training.steps() < steps && !evaluation.stops()) {
    say(fmt::format("stopped after step {} of {}; the same command goes on", training.steps(),
                    steps));
    return exit_interrupted;
  }
  evaluation.restore_best(training, described);
  if (const auto best = evaluation.best_step()) {
    say(fmt::format("the best of the evaluations is that after step {}", *best));
  }
  if (!ranks.is_first()) return 0;
  const fs::path result = out / (training_options.lora ? "adapter"
                                 : is_folder           ? "model"
                                                       : "model.gguf");
  if (training_options.lora) {
    training.write_adapter(result, model_hash);
  } else {
    training.write_model(result);
  }
  fmt::print("{}\n", result.string());
  return 0;
}

}  // namespace

Command add_train_finetune(CLI::App& train, const std::string& command_line) {
  auto options = std::make_shared<Options>();
  options->command_line = command_line;
  CLI::App* const command = train.add_subcommand(
      "finetune",
      "Fine-tune all weights, or an adapter, on prompts with answers, at full depth or on routes");
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  options->model.add_to(*command);
  options->data.add_to(*command);
  command->add_option("--out", options->out,
                      "folder for the model, checkpoints and metrics.jsonl; a run that was stopped "
                      "goes on in it");
  command->add_option(
      "--depths", options->depths,
      "policies, separated by commas: each step draws one for its answers; default: "
      "all layers; " +
          depth_help());
  options->ranking.add_to(*command);
  command->add_flag("--distill", options->distill,
                    "towards the predictions of the model as it is now, at full depth, instead of "
                    "the answers' tokens");
  CLI::Option* const rank =
      command
          ->add_option(
              "--lora-rank", options->lora_rank,
              "train a LoRA adapter of this rank for all linear maps of the layers instead of "
              "the weights; OUT/adapter is then what PEFT reads")
          ->check(CLI::Range(1, 65536));
  command
      ->add_option("--lora-alpha", options->lora_alpha,
                   "the adapter counts alpha / rank times; default: twice the rank")
      ->check(CLI::Range(1e-6, 1e6))
      ->needs(rank);
  command
      ->add_option("--lora-rows", options->lora_rows,
                   "where the adapter acts: routed (the answers' tokens that leave layers out; "
                   "prompts and full depth stay as they are; of layers that no depth runs it has "
                   "nothing) or all")
      ->check(CLI::IsMember({"routed", "all"}))
      ->needs(rank)
      ->capture_default_str();
  command
      ->add_option("--adapter", options->model.adapter,
                   "folder of a LoRA adapter to train further, with its rank, alpha and rows")
      ->excludes(rank);
  command
      ->add_option("--lora-dtype", options->lora_dtype,
                   "of the factors in OUT/adapter: float32 or float16; they are trained in float32")
      ->check(CLI::IsMember({"float32", "float16"}))
      ->capture_default_str();
  command->add_flag("--freeze-skipped", options->freeze_skipped,
                    "layers that a step's depth leaves out stay as they are in that step, although "
                    "prompts run them");
  command
      ->add_option("--layer-dropout", options->layer_dropout,
                   "drop each layer but the first with this probability for each row")
      ->check(CLI::Range(0.0, 0.99));
  command->add_flag("--no-dropout", options->no_dropout,
                    "without the dropout that the model's config.json asks for");
  command->add_flag("--recompute", options->recompute,
                    "compute each layer again for its gradients: less memory, more time, the same "
                    "results");
  command->add_option("--eval-rows", options->eval_rows,
                      "rows that are not trained on, whose loss is measured; the model that is "
                      "written is then the best one");
  command->add_option("--eval-every", options->evaluation.every, "steps between these")
      ->check(CLI::Range(std::int64_t{1}, most))
      ->capture_default_str();
  command->add_option("--eval-generate", options->evaluation.generate,
                      "so many of these rows are answered by fathom's engine, too, and compared "
                      "with their own answers by ROUGE-L");
  command->add_option("--eval-tokens", options->evaluation.max_tokens, "of such an answer, at most")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--patience", options->evaluation.patience,
                   "stop after so many of these without a better mean over depths")
      ->check(CLI::Range(std::int64_t{1}, most));
  command->add_option("--epochs", options->epochs, "how often each row is trained on")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  command->add_option("--steps", options->steps, "so many steps instead")
      ->check(CLI::Range(std::int64_t{1}, most));
  options->add_to(*command);
  add_example(*command,
              "fathom-torch train finetune --data data/prompts.jsonl --depths "
              "full,uniform:20,uniform:15 --distill --out runs/shallow");
  return {command, [options] {
            return run_on_ranks([&](Ranks& ranks) { return run_finetune(*options, ranks); });
          }};
}

}  // namespace fathom
