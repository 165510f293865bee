#include <cstdint>
#include <cstdio>
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
#include "data/prompt_maker.h"
#include "depth/policy.h"
#include "study/oracle.h"
#include "study/oracle_report.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  DataOptions data;
  RankingOption ranking;
  std::string depths;
  std::string out;
  std::size_t batch = 32;
  OracleOptions study;
  std::string command_line;
};

void print_work(const OracleWork& work) {
  if (work.answers == 0) return;
  fmt::print(stderr,
             "{} answers: {} prompt tokens, {} new tokens in {:.1f} s, {:.1f} new tokens/s\n",
             work.answers, work.prompt_tokens, work.new_tokens, work.seconds,
             static_cast<double>(work.new_tokens) / work.seconds);
}

int run(const Options& options) {
  const std::vector<Example> examples = options.data.read();
  if (options.depths.empty()) {
    throw InputError("study oracle needs --depths, such as uniform:8,uniform:15,full");
  }
  if (options.out.empty()) throw InputError("study oracle needs --out DIR");
  RunningModel running(options.model, options.engine);
  CpuModel& model = running.model();
  const PromptMaker prompts(model.files(), options.data.format());
  OracleOptions study = options.study;
  study.ranking = options.ranking.find(model.files(), parse_policies(options.depths));
  study.depths = oracle_depths(options.depths, model.config().depth(), study.ranking);
  const StopFlag& stop = stop_on_interrupt();
  RunFolder folder =
      open_run(options.out, run_config("oracle", options.data, options.model, options.engine,
                                       running, examples, to_json(study), options.command_line));
  const OracleWork work = measure_oracle(model, model.files(), running.team(), prompts, examples,
                                         study, options.batch, folder, stop);
  print_work(work);
  if (!work.complete) return report_stopped(options.out, Unfinished::is_reported);
  print_summary(report_oracle(folder), folder);
  return 0;
}

}  // namespace

Command add_study_oracle(CLI::App& study, const std::string& command_line) {
  auto options = std::make_shared<Options>();
  options->command_line = command_line;
  CLI::App* const command = study.add_subcommand(
      "oracle",
      "What choosing each prompt's depth could bring with hindsight, on your model and data "
      "[Glavas24 3.3]");
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  options->model.add_to(*command);
  options->data.add_to(*command);
  command->add_option("--depths", options->depths,
                      "policies, separated by commas, full among them; " + fixed_depth_help());
  options->ranking.add_to(*command);
  command->add_option("--out", options->out,
                      "folder for results and the report; a run that was stopped goes on in it");
  command->add_option("--max-new-tokens", options->study.max_new_tokens, "of an answer, at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
  command
      ->add_option("--generations", options->study.draws,
                   "0 or 2: further answers at each depth, drawn, from which to tell luck")
      ->check(CLI::IsMember({0, 2}))
      ->capture_default_str();
  command->add_option("--temperature", options->study.temperature, "of those")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
  command->add_option("--seed", options->study.seed, "of those, and of random depths")
      ->check(CLI::Range(most))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "answers at a time; changes no result")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  options->engine.add_to(*command);
  options->model.add_quantize_to(*command);
  options->model.add_adapter_to(*command);
  add_example(*command,
              "fathom study oracle --data data/prompts.jsonl --depths "
              "uniform:8,uniform:15,uniform:24,full --out runs/oracle");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
