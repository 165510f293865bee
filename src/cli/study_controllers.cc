#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
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
#include "data/prompt_maker.h"
#include "model/controller_file.h"
#include "study/controllers.h"
#include "study/controllers_report.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  DataOptions data;
  GatesOption gates;
  std::vector<std::string> grid;
  std::string out;
  std::size_t batch = 32;
  ControllersOptions study;
  std::string command_line;
};

// Answers with one cell's controllers, on a model that is there or on the cell's own.
bool measure(RunningModel& running, const CellFiles& files, const Options& options,
             const ControllersOptions& study, const std::vector<Example>& examples,
             RunFolder& folder, const StopFlag& stop) {
  CpuModel& model = running.model();
  const CellModel with{.model = model,
                       .files = model.files(),
                       .controllers = std::make_shared<SkipControllers>(
                           read_controllers_of(files.controllers, model.config()).controllers)};
  const PromptMaker prompts(model.files(), options.data.format());
  return measure_controllers(with, running.team(), prompts, examples, study, files.cell,
                             options.batch, folder, stop);
}

int run(const Options& options) {
  const std::vector<Example> examples = options.data.read();
  if (options.grid.empty()) {
    throw InputError(
        "study controllers needs --grid DIR,DIR..., as `fathom-torch train controllers` fills "
        "them");
  }
  if (options.out.empty()) throw InputError("study controllers needs --out DIR");
  const std::vector<CellFiles> cells = find_cells(options.grid);
  ControllersOptions study = options.study;
  study.gates = parse_gate_rule(options.gates.gates);
  for (const CellFiles& files : cells) study.cells.push_back(files.cell);
  // The model that the others are compared by; frozen backbones share it.
  RunningModel shared(options.model, options.engine);
  const StopFlag& stop = stop_on_interrupt();
  RunFolder folder =
      open_run(options.out, run_config("controllers", options.data, options.model, options.engine,
                                       shared, examples, to_json(study), options.command_line));
  for (const CellFiles& files : cells) {
    if (is_answered(folder, files.cell, examples.size())) continue;
    bool whole = false;
    if (files.model) {
      ModelOption own = options.model;
      own.path = files.model->string();
      RunningModel running(own, options.engine);
      whole = measure(running, files, options, study, examples, folder, stop);
    } else {
      whole = measure(shared, files, options, study, examples, folder, stop);
    }
    if (!whole) return report_stopped(options.out, Unfinished::is_reported);
  }
  print_summary(report_controllers(folder), folder);
  return 0;
}

}  // namespace

Command add_study_controllers(CLI::App& study, const std::string& command_line) {
  auto options = std::make_shared<Options>();
  options->command_line = command_line;
  CLI::App* const command = study.add_subcommand(
      "controllers",
      "Whether skip controllers gain by looking at hidden states, on your model and data "
      "[Glavas24 3.2]");
  options->model.add_to(*command);
  options->data.add_to(*command);
  command
      ->add_option("--grid", options->grid,
                   "folders that `fathom-torch train controllers` filled, separated by commas: one "
                   "an input and backbone")
      ->delimiter(',');
  options->gates.add_to(*command);
  command->add_option("--out", options->out,
                      "folder for results and the report; a run that was stopped goes on in it");
  command->add_option("--max-new-tokens", options->study.max_new_tokens, "of an answer, at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--seed", options->study.seed, "of the gates' draws")
      ->check(CLI::Range(std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "answers at a time; changes no result")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  options->engine.add_to(*command);
  options->model.add_quantize_to(*command);
  add_example(*command,
              "fathom study controllers --data data/prompts.jsonl --grid "
              "runs/controllers-hidden,runs/controllers-fixed --out runs/study-controllers");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
