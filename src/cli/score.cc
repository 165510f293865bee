#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/model_options.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "depth/policy.h"
#include "generate/teacher_forcing.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  EngineOptions engine;
  RankingOption ranking;
  GatesOption gates;
  DataOptions data;
  std::string depth = "full";
  std::uint64_t seed = 0;
  bool per_token = false;
  bool json = false;
};

struct ScoredRow {
  std::string id;
  std::vector<TokenId> prompt;
  std::vector<TokenId> response;
  std::vector<ScoredResponse> scores;  // for each depth
};

// Sums over all rows of one depth.
struct Total {
  double nll = 0;
  double nll_first = 0;
  std::size_t tokens = 0;
  std::size_t rows = 0;
  std::uint64_t layers_run = 0;

  void add(const ScoredResponse& row) {
    nll += std::accumulate(row.nll.begin(), row.nll.end(), 0.0);
    nll_first += row.nll.front();
    tokens += row.nll.size();
    layers_run += row.layers_run;
    ++rows;
  }
  // Over the routed passes; no number if there was none.
  [[nodiscard]] double mean_layers() const {
    return static_cast<double>(layers_run) / static_cast<double>(tokens - rows);
  }
  [[nodiscard]] double mean() const { return nll / static_cast<double>(tokens); }
  // No number if no response has a second token.
  [[nodiscard]] double mean_without_first() const {
    return (nll - nll_first) / static_cast<double>(tokens - rows);
  }
};

// JSON has no NaN.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

ScoredRow score_row(CpuModel& model, const PromptMaker& prompts, const Example& example,
                    const std::vector<DepthPolicy>& policies, const std::optional<Ranking>& ranking,
                    const LoadedControllers& controllers, std::uint64_t seed,
                    const StopFlag& stop) {
  const std::vector<TokenId> prompt = prompts.example(example);
  ScoredRow row{
      .id = example.id,
      .prompt = prompt,
      .response = model.files().tokenizer.encode(example.response, SpecialTokens::recognize),
      .scores = {}};
  if (prompt.empty()) throw InputError("the prompt has no tokens");
  if (row.response.empty()) throw InputError("the response has no tokens");
  const auto cache = model.new_cache(model.config().context);
  // One prompt pass at full depth serves all routes.
  ForwardOutput output;
  if (!prefill(model, *cache, prompt, default_prefill_chunk, output, stop)) return row;
  for (const DepthPolicy& policy : policies) {
    const auto selector = make_selector(policy, model.config().depth(), seed,
                                        sequence_key(example.id), ranking, controllers);
    row.scores.push_back(
        response_nll(model, *cache, output.logit_row(0).values, row.response, *selector, stop));
    if (row.scores.back().nll.empty()) break;
  }
  return row;
}

// A dash where there is no number: no response had a second token. Perplexities may be of any size.
std::string cell(double value) {
  if (!std::isfinite(value)) return "-";
  return value < 1e6 ? fmt::format("{:.4f}", value) : fmt::format("{:.4e}", value);
}

void print_table(const std::vector<DepthPolicy>& policies, const std::vector<Total>& totals) {
  fmt::print("{:<28}{:>10}{:>12}{:>22}{:>12}\n", "depth", "NLL", "perplexity", "NLL without first",
             "perplexity");
  for (std::size_t d = 0; d < policies.size(); ++d) {
    const Total& total = totals[d];
    fmt::print("{:<28}{:>10}{:>12}{:>22}{:>12}\n", to_string(policies[d]), cell(total.mean()),
               cell(std::exp(total.mean())), cell(total.mean_without_first()),
               cell(std::exp(total.mean_without_first())));
  }
  fmt::print("{} rows, {} response tokens\n", totals[0].rows, totals[0].tokens);
  for (std::size_t d = 0; d < policies.size(); ++d) {
    if (has_fixed_route(policies[d]) || !std::isfinite(totals[d].mean_layers())) continue;
    fmt::print("{}: mean layers {:.1f}\n", to_string(policies[d]), totals[d].mean_layers());
  }
}

void print_tokens(const std::vector<ScoredRow>& rows, const std::vector<DepthPolicy>& policies) {
  for (const ScoredRow& row : rows) {
    for (std::size_t d = 0; d < policies.size(); ++d) {
      fmt::print("{}\t{}", row.id, to_string(policies[d]));
      for (const double nll : row.scores[d].nll) fmt::print("\t{:.6f}", nll);
      fmt::print("\n");
    }
  }
}

Json rows_json(const std::vector<ScoredRow>& rows, std::size_t depth) {
  Json list = Json::array();
  for (const ScoredRow& row : rows) {
    list.push_back({{"id", row.id},
                    {"prompt_tokens", to_json(row.prompt)},
                    {"response_tokens", to_json(row.response)},
                    {"nll", row.scores[depth].nll}});
  }
  return list;
}

int run(const Options& options) {
  const std::vector<DepthPolicy> policies = parse_policies(options.depth);
  const std::vector<Example> examples = options.data.read();
  RunningModel running(options.model, options.engine);
  CpuModel& model = running.model();
  const PromptMaker prompts(model.files(), options.data.format());
  const std::optional<Ranking> ranking = options.ranking.find(model.files(), policies);
  const LoadedControllers controllers = options.gates.find(model.config(), policies);
  for (const DepthPolicy& policy : policies) {
    (void)make_selector(policy, model.config().depth(), 0, 0, ranking, controllers);
  }
  const StopFlag& stop = stop_on_interrupt();

  std::vector<Total> totals(policies.size());
  std::vector<ScoredRow> rows;
  {
    Progress progress("rows", examples.size());
    for (const Example& example : examples) {
      ScoredRow row;
      try {
        row =
            score_row(model, prompts, example, policies, ranking, controllers, options.seed, stop);
      } catch (const InputError& error) {
        throw FileError(options.data.path, fmt::format("row '{}'", example.id), error.what());
      }
      if (stop.load()) return exit_interrupted;
      for (std::size_t d = 0; d < policies.size(); ++d) totals[d].add(row.scores[d]);
      if (options.per_token) rows.push_back(std::move(row));
      progress.done(totals[0].rows);
    }
  }
  if (!options.json) {
    if (options.per_token) print_tokens(rows, policies);
    print_table(policies, totals);
    return 0;
  }
  Json depths = Json::array();
  for (std::size_t d = 0; d < policies.size(); ++d) {
    const Total& total = totals[d];
    Json json{{"depth", to_string(policies[d])},
              {"nll", number(total.mean())},
              {"perplexity", number(std::exp(total.mean()))},
              {"nll_without_first", number(total.mean_without_first())},
              {"perplexity_without_first", number(std::exp(total.mean_without_first()))},
              {"mean_layers", number(total.mean_layers())}};
    if (options.per_token) json["rows"] = rows_json(rows, d);
    depths.push_back(std::move(json));
  }
  Json json{{"data", options.data.path},
            {"precision", options.engine.precision},
            {"threads", options.engine.threads},
            {"kernels", kernels().name},
            {"seed", options.seed},
            {"rows", totals[0].rows},
            {"tokens", totals[0].tokens},
            {"depths", std::move(depths)}};
  if (!controllers.by_file.empty()) json["gates"] = to_string(controllers.rule);
  if (!options.model.quantize.empty()) json["quantize"] = options.model.quantize;
  if (running.adapter()) json["adapter"] = to_json(*running.adapter());
  print_json(json);
  return 0;
}

}  // namespace

Command add_score(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = program.add_subcommand(
      "score", "How likely a model finds given answers, at each depth (teacher-forced)");
  options->model.add_to(*command);
  options->ranking.add_to(*command);
  options->gates.add_to(*command);
  options->data.add_to(*command);
  command->add_option("--depth", options->depth, "policies, separated by commas; " + depth_help())
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of random depths and gates")
      ->check(CLI::Range(std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  options->engine.add_to(*command);
  options->model.add_quantize_to(*command);
  options->model.add_adapter_to(*command);
  command->add_flag("--per-token", options->per_token, "print every token's NLL");
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom score --data answers.jsonl --depth full,uniform:28,first:28");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
