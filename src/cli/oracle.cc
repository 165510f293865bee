#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/version.h"
#include "oracle/analysis.h"
#include "oracle/score_table.h"
#include "report/report.h"
#include "study/oracle_figures.h"

namespace fathom {
namespace {

struct Options {
  std::string scores;
  std::string budgets;
  std::string out;
  std::uint64_t seed = 0;
  bool json = false;
  std::string command_line;
};

std::vector<double> parse_budgets(const std::string& list, const Knapsack& problem) {
  std::vector<double> budgets;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    const std::string_view item = std::string_view(list).substr(begin, comma - begin);
    double budget = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), budget);
    if (error != std::errc{} || end != item.data() + item.size() || !std::isfinite(budget)) {
      throw InputError(
          fmt::format("--budgets: expected numbers such as 4,4.5,8, found '{}'", item));
    }
    if (budget < problem.least_budget() * (1 - 1e-12)) {
      throw InputError(
          fmt::format("--budgets: {} is below {}, which every row's cheapest cost takes", item,
                      problem.least_budget()));
    }
    budgets.push_back(budget);
    begin = comma + 1;
  }
  return budgets;
}

// JSON has no NaN: there is no interval.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json by_depth(const ScoreTable& table, const std::vector<double>& values) {
  Json json = Json::object();
  for (std::size_t d = 0; d < values.size(); ++d) json[table.depths[d]] = values[d];
  return json;
}

Json to_json(const ScoreTable& table, const OracleAnalysis& analysis) {
  Json budgets = Json::array();
  for (const BudgetPoint& point : analysis.budgets) {
    budgets.push_back({{"budget", point.budget},
                       {"mean_quality", point.mean_quality},
                       {"mean_cost", point.mean_cost},
                       {"shares", by_depth(table, shares_of(point))},
                       {"upper_bound", point.upper_bound},
                       {"optimal", point.optimal}});
  }
  Json tests = Json::array();
  for (const LengthTest& test : analysis.length_tests) {
    tests.push_back({{"budget", test.budget},
                     {"statistic", test.result.statistic},
                     {"degrees_of_freedom", test.result.degrees_of_freedom},
                     {"p", test.result.p_value}});
  }
  return {{"n", table.samples()},
          {"static", by_depth(table, analysis.static_quality)},
          {"greedy", by_depth(table, analysis.greedy)},
          {"budgets", std::move(budgets)},
          {"match_full",
           {{"budget", analysis.match_full.estimate},
            {"share_of_full", number(share_of_full(analysis))},
            {"low", number(analysis.match_full.low)},
            {"high", number(analysis.match_full.high)}}},
          {"chi_squared", std::move(tests)}};
}

// "optimal", or how far off it may be.
std::string certificate(const BudgetPoint& point) {
  if (point.optimal) return "optimal";
  return fmt::format("within {:.1g}", point.upper_bound - point.mean_quality);
}

void print_text(const ScoreTable& table, const OracleAnalysis& analysis) {
  fmt::print("{} rows; costs are {}\n\n", table.samples(), cost_name(table.unit));
  fmt::print("{:<12}{:>10}{:>10}{:>10}\n", "depth", "cost", "static", "greedy");
  for (std::size_t d = 0; d < table.depths.size(); ++d) {
    fmt::print("{:<12}{:>10.4g}{:>10.4f}{:>10.4f}\n", table.depths[d], analysis.static_cost[d],
               analysis.static_quality[d], analysis.greedy[d]);
  }
  fmt::print("\n{:<12}{:>10}  {:<14}shares of {}\n", "budget", "oracle", "",
             fmt::join(table.depths, ", "));
  for (const BudgetPoint& point : analysis.budgets) {
    fmt::print("{:<12.5g}{:>10.4f}  {:<14}", point.budget, point.mean_quality, certificate(point));
    for (const double share : shares_of(point)) fmt::print("{:>6.1f}%", 100 * share);
    fmt::print("\n");
  }
  fmt::print("\n{}\n", match_text(table, analysis));
  for (const LengthTest& test : analysis.length_tests) {
    fmt::print(
        "Depth by length of the label at {:.4g}: chi-squared {:.2f}, {} degrees of freedom, p = "
        "{:.4f}\n",
        test.budget, test.result.statistic, test.result.degrees_of_freedom, test.result.p_value);
  }
}

void write_folder(const Options& options, const ScoreTable& table, const OracleAnalysis& analysis) {
  const std::filesystem::path folder = options.out;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw FileError(options.out, "", "cannot make this folder: " + error.message());
  Report report{.title = "The oracle", .summary = match_text(table, analysis)};
  report.facts = {{"scores", options.scores},
                  {"rows", fmt::format("{}", table.samples())},
                  {"cost", std::string(cost_name(table.unit))}};
  report.figures = oracle_figures(table, analysis);
  report.choices = {"Of equally good choices the oracle takes the cheapest.",
                    "The interval is a BCa bootstrap over rows of the linear relaxation's budget."};
  report.command = options.command_line;
  report.provenance = {{"fathom", std::string(version())}};
  write_file_atomically(folder / "budgets.csv", to_csv(budget_table(table, analysis)));
  for (const Figure& figure : report.figures) {
    write_file_atomically(folder / (figure.id + ".vl.json"), figure.spec.dump(2) + "\n");
    write_file_atomically(folder / (figure.id + ".csv"), to_csv(figure.table));
  }
  write_file_atomically(folder / "report.html", to_html(report));
}

int run(const Options& options) {
  if (options.scores.empty()) throw InputError("oracle needs --scores FILE");
  const ScoreTable table = read_scores(options.scores);
  const Knapsack problem(table.choices);
  const std::vector<double> budgets = options.budgets.empty()
                                          ? default_budgets(table, problem)
                                          : parse_budgets(options.budgets, problem);
  const OracleAnalysis analysis =
      analyse(table, problem, budgets, {.seed = options.seed, .resamples = match_resamples});
  if (!options.out.empty()) write_folder(options, table, analysis);
  if (options.json) {
    print_json(to_json(table, analysis));
  } else {
    print_text(table, analysis);
  }
  return 0;
}

}  // namespace

Command add_oracle(CLI::App& program, const std::string& command_line) {
  auto options = std::make_shared<Options>();
  options->command_line = command_line;
  CLI::App* const command = program.add_subcommand(
      "oracle", "How good a choice of depth could be with hindsight, from a table of scores");
  command->add_option("--scores", options->scores,
                      "CSV: columns id, one named by each cost, and optionally label_tokens and "
                      "tokens_COST");
  command->add_option("--budgets", options->budgets,
                      "mean costs, separated by commas (41 from the cheapest to the full cost)");
  command->add_option("--out", options->out, "a folder for tables, figures and a report");
  command->add_option("--seed", options->seed, "of the interval's resamples")
      ->check(CLI::Range(std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object (docs/json.md)");
  add_example(*command, "fathom oracle --scores scores.csv --budgets 4,6,8,12,24");
  return {command, [options] { return run(*options); }};
}

}  // namespace fathom
