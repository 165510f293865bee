#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/study_run.h"
#include "cli/study_summary.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "study/layers.h"
#include "study/layers_report.h"
#include "study/run_folder.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  DataOptions data;
  std::string out;
  LayersOptions study;
  std::string command_line;
};

int run(const Options& options) {
  const std::vector<Example> examples = options.data.read();
  if (options.out.empty()) throw InputError("study layers needs --out DIR");
  RunningModel running(options.model, options.engine);
  CpuModel& model = running.model();
  if (model.config().depth() < 2) {
    throw InputError("study layers: the model has one layer, and none can be left out");
  }
  const PromptMaker prompts(model.files(), options.data.format());
  const StopFlag& stop = stop_on_interrupt();
  RunFolder folder = open_run(
      options.out, run_config("layers", options.data, options.model, options.engine, running,
                              examples, to_json(options.study), options.command_line));
  if (!measure_layers(model, running.team(), model.files(), prompts, examples, options.study,
                      folder, stop)) {
    return report_stopped(options.out, Unfinished::is_not_reported);
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
  options->data.limit = 64;
  options->data.add_to(*layers);
  layers->get_option("--limit")->description(
      "only the first N rows: one half is searched on, the other held out");
  layers->add_option(
      "--out", options->out,
      "folder for results, report and ranking; a run that was stopped goes on in it");
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
  options->engine.add_to(*layers);
  options->model.add_quantize_to(*layers);
  options->model.add_adapter_to(*layers);
  add_example(*layers, "fathom study layers --data data/prompts.jsonl --out runs/layers");
  return {layers, [options] { return run(*options); }};
}

}  // namespace fathom
