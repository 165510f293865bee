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
#include "base/sha256.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/study_summary.h"
#include "cli/version.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "model/model_hash.h"
#include "study/run_folder.h"
#include "study/similarity.h"
#include "study/similarity_report.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  std::string data;
  std::string out;
  std::string costs;
  std::vector<std::string> routes;
  std::string on = "labels";
  std::size_t max_new_tokens = 128;
  std::size_t limit = std::numeric_limits<std::size_t>::max();
  std::uint64_t seed = 0;
  bool raw = false;
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

RunConfig run_config(const Options& options, const CpuModel& model,
                     const std::vector<Example>& examples, const SimilarityOptions& study) {
  const ModelFiles& files = model.files();
  RunConfig config{.study = "similarity",
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
                   .options = to_json(study)};
  config.options["prompt"] = options.raw ? "raw" : "chat";
  config.options["precision"] = options.engine.precision;
  if (!options.model.quantize.empty()) config.options["quantize"] = options.model.quantize;
  // Their sums differ in the last bits.
  config.options["kernels"] = kernels().name;
  return config;
}

int run_similarity(const Options& options) {
  if (options.data.empty()) throw InputError("study similarity needs --data FILE");
  if (options.out.empty()) throw InputError("study similarity needs --out DIR");
  const std::vector<Example> examples = read_examples(options.data, options.limit);
  RunningModel running(options.model, options.engine);
  CpuModel& model = running.model();
  const PromptMaker prompts(model.files(),
                            options.raw ? PromptMaker::Format::raw : PromptMaker::Format::chat);
  const SimilarityOptions study = study_options(options, model.config().depth());
  const StopFlag& stop = stop_on_interrupt();
  RunFolder folder =
      RunFolder::open_to_measure(options.out, run_config(options, model, examples, study));
  for (const std::string& warning : folder.warnings()) {
    fmt::print(stderr, "fathom: {}: {}\n", options.out, warning);
  }
  if (!measure_similarity(model, model.files(), prompts, examples, study, folder, stop)) {
    fmt::print(stderr,
               "fathom: {}: stopped; what was measured is kept, and the same command goes on from "
               "there. `fathom report {}` shows it.\n",
               options.out, options.out);
    return exit_interrupted;
  }
  print_summary(report_similarity(folder), folder);
  return 0;
}

}  // namespace

Command add_study(CLI::App& program, const std::string& command_line) {
  auto options = std::make_shared<Options>();
  options->command_line = command_line;
  CLI::App* const study = program.add_subcommand("study", "Experiments, each with a report");
  study->require_subcommand(1);
  CLI::App* const similarity = study->add_subcommand(
      "similarity",
      "How close routed hidden states stay to the full model's, at each number of layers "
      "[Glavas24 3.1]");
  options->model.add_to(*similarity);
  similarity->add_option(
      "--data", options->data,
      "JSON Lines: {prompt, response}, {instruction, input, output}, {instruction, context, "
      "response} or {article, highlights}");
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
  similarity->add_option("--limit", options->limit, "measure only the first N rows")
      ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()));
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
  similarity->add_flag("--raw", options->raw, "no chat template: the prompts as they are");
  options->engine.add_to(*similarity);
  options->model.add_quantize_to(*similarity);
  add_example(*similarity,
              "fathom study similarity --data data/prompts.jsonl --out runs/similarity");
  return {similarity, [options] { return run_similarity(*options); }};
}

}  // namespace fathom
