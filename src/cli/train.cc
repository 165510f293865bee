// `train` of fathom-torch; train_missing.cc is the one of fathom.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/available_cpus.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/sha256.h"
#include "base/stopwatch.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/train_controllers.h"
#include "cli/train_examples.h"
#include "data/prompt_maker.h"
#include "data/row_log.h"
#include "depth/policy.h"
#include "model/model_hash.h"
#include "train/batches.h"
#include "train/finetuning.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  DataOptions data;
  RankingOption ranking;
  std::string out, depths;
  std::string device = "cpu";
  std::string dtype = "float32";
  double learning_rate = 5e-5;
  double weight_decay = 0.01;
  double clip = 1;
  double warmup = 0.03;
  double epochs = 1;
  std::uint64_t steps = 0;
  std::size_t batch = 8;
  std::size_t accumulate = 1;
  std::size_t max_tokens = 512;
  std::uint64_t save_every = 100;
  std::uint64_t seed = 0;
  int threads = 0;
  std::size_t lora_rank = 0;  // 0: no adapter
  std::optional<double> lora_alpha;
  std::string lora_rows = "routed";
  bool distill = false;
};

// Routes of --depths. A random policy would be another route for each sequence.
std::vector<Route> routes_of(const Options& options, const ModelFiles& files) {
  std::vector<Route> routes;
  if (options.depths.empty()) return routes;
  const std::vector<DepthPolicy> policies = parse_policies(options.depths);
  const std::optional<Ranking> ranking = options.ranking.find(files, policies);
  for (const DepthPolicy& policy : policies) {
    if (std::holds_alternative<RandomLayers>(policy) ||
        std::holds_alternative<RandomFreeLayers>(policy)) {
      throw InputError(
          fmt::format("--depths {}: expected policies that are one route each", to_string(policy)));
    }
    routes.push_back(resolve(policy, files.config.depth(), options.seed, 0, ranking));
  }
  return routes;
}

// The adapter that is trained, if one is. Where it leaves full depth as it is there is nothing to
// train, so such routes are not drawn.
std::optional<LoraOptions> lora_of(const Options& options, std::vector<Route>& routes) {
  if (options.lora_rank == 0) {
    if (options.lora_alpha) throw InputError("--lora-alpha goes with --lora-rank");
    return std::nullopt;
  }
  LoraOptions lora{.rank = options.lora_rank,
                   .alpha = options.lora_alpha.value_or(2 * static_cast<double>(options.lora_rank)),
                   .rows = options.lora_rows == "all" ? AdapterRows::all : AdapterRows::routed};
  if (lora.rows == AdapterRows::all) return lora;
  std::erase_if(routes, [](const Route& route) { return route.cost() == route.depth(); });
  if (routes.empty()) {
    throw InputError(
        "--lora-rows routed: the adapter acts on no token at full depth; expected --depths with "
        "routes that leave layers out, or --lora-rows all");
  }
  return lora;
}

// What two runs must have in common for one to go on where the other stopped.
std::string description(const Options& options, const std::string& model_hash) {
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
  json["epochs"] = options.epochs;
  json["steps"] = options.steps;
  json["learning_rate"] = options.learning_rate;
  json["warmup"] = options.warmup;
  json["weight_decay"] = options.weight_decay;
  json["clip"] = options.clip;
  json["batch"] = options.batch;
  json["accumulate"] = options.accumulate;
  json["max_tokens"] = options.max_tokens;
  json["device"] = options.device;
  json["dtype"] = options.dtype;
  json["seed"] = options.seed;
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

int run_finetune(const Options& options) {
  namespace fs = std::filesystem;
  if (options.out.empty()) throw InputError("train finetune needs --out DIR");
  const std::vector<Example> rows = options.data.read();
  ModelFiles files = options.model.open();
  const PromptMaker prompts(files, options.data.format());
  std::vector<TrainingExample> examples = examples_of(rows, files, prompts, options.max_tokens);
  FinetuningOptions training_options{
      .torch = {.device = parse_torch_device(options.device),
                .type = parse_torch_type(options.dtype)},
      .weight_decay = options.weight_decay,
      .clip = options.clip,
      .batch = options.batch,
      .accumulate = options.accumulate,
      .routes = routes_of(options, files),
      .target = options.distill ? TrainingTarget::full_model : TrainingTarget::labels,
      .seed = options.seed};
  training_options.lora = lora_of(options, training_options.routes);
  const std::uint64_t of_epoch = epoch_steps(examples.size(), options.batch, options.accumulate);
  const std::uint64_t steps =
      options.steps > 0
          ? options.steps
          : std::max<std::uint64_t>(
                1, static_cast<std::uint64_t>(options.epochs * static_cast<double>(of_epoch)));
  training_options.schedule = {
      .peak = options.learning_rate,
      .warmup = static_cast<std::uint64_t>(options.warmup * static_cast<double>(steps)),
      .steps = steps};
  set_torch_threads(options.threads);
  const std::string model_hash = model_sha256(files.path);
  const std::string described = description(options, model_hash);
  const bool is_folder = fs::is_directory(files.path);
  Finetuning training(std::move(files), std::move(examples), training_options);

  const fs::path out(options.out);
  std::error_code error;
  fs::create_directories(out, error);
  if (error) throw FileError(options.out, "", "cannot be made: " + error.message());
  RowLog metrics(out / "metrics.jsonl", R"({"step":)");
  // A run that was killed went on after its last checkpoint; the steps are taken again, and give
  // what they gave.
  std::uint64_t logged = 0;
  metrics.read([&](const JsonLine& row) {
    const auto step = row.value.find("step");
    if (step == row.value.end() || !step->is_number_unsigned()) {
      throw FileError(row.place, "step", "a number expected");
    }
    logged = std::max(logged, step->get<std::uint64_t>());
  });
  const fs::path checkpoint = out / "checkpoint";
  if (training.load(checkpoint, described)) {
    fmt::print(stderr, "goes on after step {} of {}\n", training.steps(), steps);
  }
  const StopFlag& stop = stop_on_interrupt();
  Progress progress("steps", steps, training.steps());
  while (training.steps() < steps && !stop) {
    const Stopwatch watch;
    const StepReport report = training.step();
    if (report.step > logged) metrics.append(metrics_row(report, watch.seconds()));
    progress.done(training.steps());
    if (training.steps() % options.save_every == 0 && training.steps() < steps) {
      training.save(checkpoint, described);
    }
  }
  training.save(checkpoint, described);
  if (training.steps() < steps) {
    fmt::print(stderr, "stopped after step {} of {}; the same command goes on\n", training.steps(),
               steps);
    return exit_interrupted;
  }
  if (training_options.lora) {
    const fs::path adapter = out / "adapter";
    training.write_adapter(adapter, model_hash);
    fmt::print("{}\n", adapter.string());
    return 0;
  }
  const fs::path model = out / (is_folder ? "model" : "model.gguf");
  training.write_model(model);
  fmt::print("{}\n", model.string());
  return 0;
}

}  // namespace

Command add_train(CLI::App& program) {
  CLI::App* const train = program.add_subcommand("train", "Adapt a model to run at less depth");
  train->require_subcommand(1);
  auto options = std::make_shared<Options>();
  CLI::App* const command = train->add_subcommand(
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
  command
      ->add_option("--lora-rank", options->lora_rank,
                   "train a LoRA adapter of this rank for all linear maps of the layers instead of "
                   "the weights; OUT/adapter is then what PEFT reads")
      ->check(CLI::Range(1, 65536));
  command
      ->add_option("--lora-alpha", options->lora_alpha,
                   "the adapter counts alpha / rank times; default: twice the rank")
      ->check(CLI::Range(1e-6, 1e6));
  command
      ->add_option("--lora-rows", options->lora_rows,
                   "where the adapter acts: routed (the answers' tokens that leave layers out; "
                   "prompts and full depth stay as they are) or all")
      ->check(CLI::IsMember({"routed", "all"}))
      ->capture_default_str();
  command->add_option("--epochs", options->epochs, "how often each row is trained on")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  command->add_option("--steps", options->steps, "so many steps instead")
      ->check(CLI::Range(std::int64_t{1}, most));
  command->add_option("--batch", options->batch, "rows that are computed together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--accumulate", options->accumulate, "batches of a step")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--max-tokens", options->max_tokens, "of a row; a prompt gets a quarter")
      ->check(CLI::Range(std::int64_t{4}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--learning-rate", options->learning_rate, "at its highest")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--warmup", options->warmup, "share of the steps over which it rises")
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
  command->add_option("--seed", options->seed, "of the rows' order and the depths drawn")
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
              "fathom-torch train finetune --data data/prompts.jsonl --depths "
              "full,uniform:20,uniform:15 --distill --out runs/shallow");
  const Command controllers = add_train_controllers(*train);
  return {train, [options, command, controllers] {
            return command->parsed() ? run_finetune(*options) : controllers.run();
          }};
}

}  // namespace fathom
