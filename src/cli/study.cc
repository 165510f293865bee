#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/study_run.h"
#include "cli/study_summary.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "study/run_folder.h"
#include "study/similarity.h"
#include "study/similarity_report.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  DataOptions data;
  std::string out;
  std::string costs;
  std::vector<std::string> routes;
  std::string on = "labels";
  std::size_t max_new_tokens = 128;
  std::uint64_t seed = 0;
  std::string command_line;
};

std::int32_t parse_cost(std::string_view text, std::string_view list) {
  std::int32_t cost = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cost);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw InputError(
        fmt::format("--costs {}: expected numbers such as 1-30 or 4,8,12, found '{}'", list, text));
  }
  return cost;
}

// Costs as people write them: "1-30", "4,8,10-12". All of a model's if nothing is given.
std::vector<std::int32_t> parse_costs(const std::string& list, std::int32_t depth) {
  const std::string text = list.empty() ? fmt::format("1-{}", depth) : list;
  std::vector<std::int32_t> costs;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string_view item = std::string_view(text).substr(begin, comma - begin);
    const std::size_t dash = item.find('-');
    const std::int32_t first = parse_cost(item.substr(0, dash), list);
    const std::int32_t last =
        dash == std::string_view::npos ? first : parse_cost(item.substr(dash + 1), list);
    if (first < 1 || last < first || last > depth) {
      throw InputError(fmt::format("--costs {}: '{}' is not within the model's 1 to {} layers",
                                   list, item, depth));
    }
    for (std::int32_t cost = first; cost <= last; ++cost) costs.push_back(cost);
    begin = comma + 1;
  }
  std::sort(costs.begin(), costs.end());
  if (std::adjacent_find(costs.begin(), costs.end()) != costs.end()) {
    throw InputError(fmt::format("--costs {}: a cost is named twice", list));
  }
  return costs;
}

SimilarityOptions study_options(const Options& options, std::int32_t depth) {
  SimilarityOptions result{
      .kinds = {},
      .costs = parse_costs(options.costs, depth),
      .on = options.on == "labels" ? ResponseSource::labels : ResponseSource::generated,
      .max_new_tokens = options.max_new_tokens,
      .seed = options.seed};
  // In the order in which they are shown, whatever the order in which they were asked for.
  for (const std::string_view kind : similarity_kinds()) {
    const auto count = std::count(options.routes.begin(), options.routes.end(), kind);
    if (count > 1) throw InputError(fmt::format("--routes: '{}' is named twice", kind));
    if (count == 1 || options.routes.empty()) result.kinds.emplace_back(kind);
  }
  return result;
}

int run_similarity(const Options& options) {
  const std::vector<Example> examples = options.data.read();
  if (options.out.empty()) throw InputError("study similarity needs --out DIR");
  RunningModel running(options.model, options.engine);
  CpuModel& model = running.model();
  const PromptMaker prompts(model.files(), options.data.format());
  const SimilarityOptions study = study_options(options, model.config().depth());
  const StopFlag& stop = stop_on_interrupt();
  RunFolder folder =
      open_run(options.out, run_config("similarity", options.data, options.model, options.engine,
                                       running, examples, to_json(study), options.command_line));
  if (!measure_similarity(model, model.files(), prompts, examples, study, folder, stop)) {
    return report_stopped(options.out, Unfinished::is_reported);
  }
  print_summary(report_similarity(folder), folder);
  return 0;
}

Command add_study_similarity(CLI::App& study, const std::string& command_line) {
  auto options = std::make_shared<Options>();
  options->command_line = command_line;
  CLI::App* const similarity = study.add_subcommand(
      "similarity",
      "How close routed hidden states stay to the full model's, at each number of layers "
      "[Glavas24 3.1]");
  options->model.add_to(*similarity);
  options->data.add_to(*similarity);
  similarity->add_option("--out", options->out,
                         "folder for results and the report; a run that was stopped goes on in it");
  similarity->add_option("--costs", options->costs,
                         "numbers of layers, such as 1-30 or 4,8,12; default: all");
  similarity
      ->add_option(
          "--routes", options->routes,
          fmt::format("kinds of routes, of {}; default: all", fmt::join(similarity_kinds(), ", ")))
      ->delimiter(',')
      ->check(CLI::IsMember(
          std::vector<std::string>(similarity_kinds().begin(), similarity_kinds().end())));
  similarity
      ->add_option("--on", options->on,
                   "which responses: the data's labels, or generated by the full model")
      ->check(CLI::IsMember({"labels", "generated"}))
      ->capture_default_str();
  similarity
      ->add_option("--max-new-tokens", options->max_new_tokens, "of a generated response, at most")
      ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  similarity->add_option("--seed", options->seed, "of random routes")
      ->check(CLI::Range(std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  options->engine.add_to(*similarity);
  options->model.add_quantize_to(*similarity);
  options->model.add_adapter_to(*similarity);
  add_example(*similarity,
              "fathom study similarity --data data/prompts.jsonl --out runs/similarity");
  return {similarity, [options] { return run_similarity(*options); }};
}

}  // namespace

Command add_study(CLI::App& program, const std::string& command_line) {
  CLI::App* const study = program.add_subcommand("study", "Experiments, each with a report");
  study->require_subcommand(1);
  const std::vector<Command> studies{
      add_study_similarity(*study, command_line), add_study_layers(*study, command_line),
      add_study_oracle(*study, command_line), add_study_controllers(*study, command_line)};
  return {study, [studies] {
            const auto asked =
                std::find_if(studies.begin(), studies.end(),
                             [](const Command& each) { return each.options->parsed(); });
            return asked->run();
          }};
}

}  // namespace fathom
