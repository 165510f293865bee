#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/sha256.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/study_summary.h"
#include "cli/version.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "model/model_hash.h"
#include "study/layers.h"
#include "study/layers_report.h"
#include "study/run_folder.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  std::string data;
  std::string out;
  std::size_t limit = 64;
  bool raw = false;
  LayersOptions study;
  std::string command_line;
};

RunConfig run_config(const Options& options, const CpuModel& model,
                     const std::vector<Example>& examples) {
  const ModelFiles& files = model.files();
  RunConfig config{.study = "layers",
                   .versions = {std::string(version())},
                   .command = options.command_line,
                   .model_path = files.path,
                   .model_name = files.name,
                   .model_sha256 = model_sha256(files.path),
                   .layers = files.config.depth(),
                   .data_path = options.data,
                   .data_sha256 = sha256_of_file(options.data),
                   .data_kind = std::string(name(examples.front().kind)),
                   .rows = examples.size(),
                   .options = to_json(options.study)};
  config.options["prompt"] = options.raw ? "raw" : "chat";
  config.options["precision"] = options.engine.precision;
  if (!options.model.quantize.empty()) config.options["quantize"] = options.model.quantize;
  // Their sums differ in the last bits.
  config.options["kernels"] = kernels().name;
  return config;
}

int run(const Options& options) {
  if (options.data.empty()) throw InputError("study layers needs --data FILE");
  if (options.out.empty()) throw InputError("study layers needs --out DIR");
  const std::vector<Example> examples = read_examples(options.data, options.limit);
  RunningModel running(options.model, options.engine);
  CpuModel& model = running.model();
  if (model.config().depth() < 2) {
    throw InputError("study layers: the model has one layer, and none can be left out");
  }
  const PromptMaker prompts(model.files(),
                            options.raw ? PromptMaker::Format::raw : PromptMaker::Format::chat);
  const StopFlag& stop = stop_on_interrupt();
  RunFolder folder = RunFolder::open_to_measure(options.out, run_config(options, model, examples));
  for (const std::string& warning : folder.warnings()) {
    fmt::print(stderr, "fathom: {}: {}\n", options.out, warning);
  }
  if (!measure_layers(model, running.team(), model.files(), prompts, examples, options.study,
                      folder, stop)) {
    fmt::print(stderr,
               "fathom: {}: stopped; what was measured is kept, and the same command goes on from "
               "there\n",
               options.out);
    return exit_interrupted;
  }
  print_summary(report_layers(folder), folder);
  fmt::print("ranking: {} (--ranking takes it)\n", (folder.path() / "ranking.json").string());
  return 0;
}

}  // namespace

Command add_study_layers(CLI::App& study, const std::string& command_line) {
  auto options = std::make_shared<Options>();
  options->command_line = command_line;
  CLI::App* const layers = study.add_subcommand(
      "layers",
      "Which layers the model can best do without: what each is worth, and routes found by search "
      "for every cost");
  options->model.add_to(*layers);
  layers->add_option("--data", options->data, fmt::format("JSON Lines: rows {}", row_shapes));
  layers->add_option(
      "--out", options->out,
      "folder for results, report and ranking; a run that was stopped goes on in it");
  const auto any = CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max());
  layers
      ->add_option("--limit", options->limit,
                   "measure the first N rows: one half is searched on, the other held out")
      ->check(any)
      ->capture_default_str();
  layers
      ->add_option("--max-response-tokens", options->study.max_response_tokens,
                   "of each answer, so many tokens from its first on")
      ->check(CLI::Range(std::int64_t{2}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  layers
      ->add_option("--beam", options->study.beam, "routes that the beam search keeps at each cost")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1024}))
      ->capture_default_str();
  layers
      ->add_option("--random-routes", options->study.random_routes,
                   "to compare with, spread evenly over several costs")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 20))
      ->capture_default_str();
  layers
      ->add_option("--seed", options->study.seed, "of the split into halves, and of random routes")
      ->check(CLI::Range(std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  layers->add_flag("--raw", options->raw, "no chat template: the prompts as they are");
  options->engine.add_to(*layers);
  options->model.add_quantize_to(*layers);
  add_example(*layers, "fathom study layers --data data/prompts.jsonl --out runs/layers");
  return {layers, [options] { return run(*options); }};
}

}  // namespace fathom
