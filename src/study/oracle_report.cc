#include "study/oracle_report.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "depth/policy.h"
#include "metrics/holm.h"
#include "metrics/interval.h"
#include "metrics/mean_error.h"
#include "oracle/analysis.h"
#include "oracle/sampling_advantage.h"
#include "study/oracle.h"
#include "study/oracle_figures.h"
#include "study/publish.h"
#include "study/verdict.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

// What [Glavas24] reports of OPT-1.3B with 24 layers.
PaperOracle paper_oracle(bool articles) {
  if (articles) return {.setting = "OPT-1.3B, trained, on CNN-DM", .match = 5.5 / 24, .models = {}};
  return {.setting = "OPT-1.3B, trained, on Alpaca",
          .match = 5.6 / 24,
          .models = {{.cost = 4.0 / 24, .quality = 0.249}, {.cost = 1, .quality = 0.342}}};
}

// As tables show numbers; nothing where there is none.
std::string cell(double value) { return std::isfinite(value) ? fmt::format("{:.6g}", value) : ""; }

std::string percent(double share) { return fmt::format("{:.1f}%", 100 * share); }

/// What a run has found.
class OracleRun {
 public:
  OracleRun(const RunFolder& folder, OracleOptions options)
      : options_(std::move(options)), layers_of_model_(folder.config().layers) {
    OracleResults results = read_oracle(folder, options_);
    step_seconds_ = std::move(results.step_seconds);
    for (OracleRow& row : results.rows) {
      (row.left_out ? left_out_ : rows_).push_back(std::move(row));
    }
    if (rows_.empty()) {
      throw FileError(folder.path().string(), "",
                      "no row is answered at every depth yet, so there is nothing to report");
    }
    for (const std::string& depth : options_.depths) {
      layers_.push_back(
          resolve(parse_policy(depth), layers_of_model_, 0, 0, options_.ranking).cost());
    }
  }

  [[nodiscard]] const OracleOptions& options() const { return options_; }
  [[nodiscard]] const std::vector<OracleRow>& rows() const { return rows_; }
  [[nodiscard]] const std::vector<OracleRow>& left_out() const { return left_out_; }
  [[nodiscard]] std::size_t depths() const { return layers_.size(); }
  [[nodiscard]] const std::vector<std::int32_t>& layers() const { return layers_; }
  [[nodiscard]] bool timed() const { return !step_seconds_.empty(); }
  [[nodiscard]] const std::vector<double>& step_seconds() const { return step_seconds_; }

  // The greedy answers' scores.
  [[nodiscard]] ScoreTable scores(CostUnit unit) const {
    ScoreTable table{.depths = {}, .layers = {}, .unit = unit, .choices = {}, .label_tokens = {}};
    for (const std::int32_t layers : layers_) {
      table.depths.push_back(fmt::format("{}", layers));
      table.layers.push_back(layers);
    }
    table.choices = choices(unit, [](const OracleRow& row) { return row.greedy; });
    for (const OracleRow& row : rows_) {
      table.label_tokens.push_back(static_cast<double>(row.label_tokens));
    }
    return table;
  }

  // Those of a draw, from 0, at a cost in layers.
  [[nodiscard]] ChoiceTable drawn(std::size_t draw) const {
    return choices(CostUnit::layers, [&](const OracleRow& row) { return row.drawn[draw]; });
  }

  // Of the greedy answers at a depth.
  template <class Measure>
  [[nodiscard]] std::vector<double> at(std::size_t depth, const Measure& measure) const {
    std::vector<double> values;
    for (const OracleRow& row : rows_) {
      values.push_back(static_cast<double>(measure(row.greedy[depth])));
    }
    return values;
  }

 private:
  template <class Answers>
  [[nodiscard]] ChoiceTable choices(CostUnit unit, const Answers& answers) const {
    ChoiceTable table{.choices = depths(), .quality = {}, .cost = {}};
    for (const OracleRow& row : rows_) {
      const std::vector<OracleAnswer> of_row = answers(row);
      for (std::size_t d = 0; d < of_row.size(); ++d) {
        table.quality.push_back(of_row[d].rouge_l);
        table.cost.push_back(cost(of_row[d], d, unit));
      }
    }
    return table;
  }

  [[nodiscard]] double cost(const OracleAnswer& answer, std::size_t depth, CostUnit unit) const {
    const auto tokens = static_cast<double>(answer.tokens);
    if (unit == CostUnit::layers) return layers_[depth];
    if (unit == CostUnit::layer_tokens) return tokens * layers_[depth];
    return tokens * step_seconds_[depth];
  }

  OracleOptions options_;
  std::int32_t layers_of_model_;
  std::vector<OracleRow> rows_, left_out_;
  std::vector<double> step_seconds_;
  std::vector<std::int32_t> layers_;  // by depth
};

std::size_t tokens_of(const OracleAnswer& answer) { return answer.tokens; }
double score_of(const OracleAnswer& answer) { return answer.rouge_l; }
bool is_capped(const OracleAnswer& answer) { return answer.capped; }

/// A run's scores at one kind of cost, with what the oracle makes of them.
struct Analysed {
  ScoreTable table;
  Knapsack problem;
  OracleAnalysis analysis;
};

Analysed analysed(ScoreTable table) {
  Knapsack problem(table.choices);
  const std::vector<double> budgets = default_budgets(table, problem);
  OracleAnalysis analysis = analyse(table, problem, budgets, {.resamples = match_resamples});
  return {std::move(table), std::move(problem), std::move(analysis)};
}

// --- tables

enum class WithTokens { no, yes };

Table scores_table(const OracleRun& run, WithTokens with_tokens) {
  Table table{{"id"}, {}};
  for (const std::int32_t layers : run.layers()) table.columns.push_back(fmt::format("{}", layers));
  table.columns.emplace_back("label_tokens");
  if (with_tokens == WithTokens::yes) {
    for (const std::int32_t layers : run.layers()) {
      table.columns.push_back(fmt::format("tokens_{}", layers));
    }
  }
  for (const OracleRow& row : run.rows()) {
    std::vector<std::string> cells{row.id};
    // All digits, so that who reads it gets the same numbers.
    for (const OracleAnswer& each : row.greedy) cells.push_back(fmt::format("{}", each.rouge_l));
    cells.push_back(fmt::format("{}", row.label_tokens));
    if (with_tokens == WithTokens::yes) {
      for (const OracleAnswer& each : row.greedy) cells.push_back(fmt::format("{}", each.tokens));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table answers_table(const OracleRun& run) {
  Table table{{"sample", "id", "depth", "layers", "draw", "tokens", "rouge_l", "capped"}, {}};
  for (const OracleRow& row : run.rows()) {
    for (std::size_t d = 0; d < run.depths(); ++d) {
      for (std::size_t draw = 0; draw <= row.drawn.size(); ++draw) {
        const OracleAnswer& answer = draw == 0 ? row.greedy[d] : row.drawn[draw - 1][d];
        table.rows.push_back({fmt::format("{}", row.sample), row.id, run.options().depths[d],
                              fmt::format("{}", run.layers()[d]), fmt::format("{}", draw),
                              fmt::format("{}", answer.tokens), fmt::format("{}", answer.rouge_l),
                              answer.capped ? "true" : "false"});
      }
    }
  }
  return table;
}

// --- figures

// What to know of each depth before its scores are read.
Figure depth_figure(const OracleRun& run) {
  Figure figure{
      .id = "depths",
      .title = "Each depth by itself",
      .caption = fmt::format(
          "Mean ROUGE-L with its 95% interval, mean length of the answers, and how many were cut "
          "off at {} tokens: an answer that does not end is scored with all that it says.",
          run.options().max_new_tokens),
      .table = {{"depth", "layers", "rouge_l", "low", "high", "tokens", "capped"}, {}}};
  Json values = Json::array();
  Json names = Json::array();
  for (std::size_t d = 0; d < run.depths(); ++d) {
    const std::string& name = run.options().depths[d];
    const Interval score = t_interval(run.at(d, score_of));
    const double tokens = mean_of(run.at(d, tokens_of));
    const double capped = mean_of(run.at(d, is_capped));
    names.push_back(name);
    values.push_back({{"depth", name},
                      {"rouge_l", score.estimate},
                      {"low", std::isfinite(score.low) ? score.low : score.estimate},
                      {"high", std::isfinite(score.high) ? score.high : score.estimate},
                      {"tokens", tokens},
                      {"capped", capped}});
    figure.table.rows.push_back({name, fmt::format("{}", run.layers()[d]), cell(score.estimate),
                                 cell(score.low), cell(score.high), cell(tokens), cell(capped)});
  }
  const Json x{{"field", "depth"}, {"type", "nominal"}, {"title", nullptr}, {"sort", names}};
  const auto bars = [&](std::string_view field, std::string_view title) {
    return Json{
        {"title", title},
        {"mark", "bar"},
        {"encoding",
         {{"x", x}, {"y", {{"field", field}, {"type", "quantitative"}, {"title", nullptr}}}}}};
  };
  const Json score{
      {"title", "mean ROUGE-L"},
      {"layer",
       Json::array(
           {{{"mark", "rule"},
             {"encoding",
              {{"x", x},
               {"y", {{"field", "low"}, {"type", "quantitative"}, {"title", nullptr}}},
               {"y2", {{"field", "high"}}}}}},
            {{"mark", {{"type", "point"}, {"filled", true}, {"size", 60}}},
             {"encoding",
              {{"x", x},
               {"y", {{"field", "rouge_l"}, {"type", "quantitative"}, {"title", nullptr}}}}}}})}};
  figure.spec = {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
                 {"description", figure.title},
                 {"data", {{"values", std::move(values)}}},
                 {"concat", Json::array({score, bars("tokens", "mean tokens of an answer"),
                                         bars("capped", "share of answers that were cut off")})}};
  return figure;
}

// An estimate of what part of the oracle's gain is no luck.
struct AdvantageEstimate {
  std::string_view name;
  double budget = 0;
  SamplingAdvantage advantage;
};

std::vector<AdvantageEstimate> advantages_at(const OracleRun& run, const Analysed& layers,
                                             const std::vector<double>& budgets) {
  std::vector<AdvantageEstimate> estimates;
  // With one group of samples there is nothing to tell apart.
  const bool groups = layers.table.samples() >= 2 * permuted_group;
  for (const double budget : groups ? budgets : std::vector<double>()) {
    estimates.push_back({"permuted", budget, permuted_advantage(layers.table.choices, budget)});
  }
  if (run.options().draws < 2) return estimates;
  const ChoiceTable first = run.drawn(0);
  const ChoiceTable second = run.drawn(1);
  for (const double budget : budgets) {
    estimates.push_back({"split", budget, split_advantage(first, second, budget)});
  }
  return estimates;
}

Figure sampling_figure(const OracleRun& run, const Analysed& layers) {
  Figure figure{.id = "sampling",
                .title = "How much of the oracle's gain is more than luck",
                .caption =
                    "The oracle's gain over spending the budget without looking at the samples, "
                    "and the part of it, with its 95% interval, that is due to choosing by the "
                    "sample. \"Permuted\": samples of like mean score exchange their depths. ",
                .table = {{"estimate", "budget", "gain", "allocation", "low", "high"}, {}}};
  figure.caption += run.options().draws < 2
                        ? "A second estimate needs two more answers a depth (--generations 2)."
                        : fmt::format(
                              "\"Split\": depths are chosen on one of two answers drawn at "
                              "temperature {} and scored on the other.",
                              run.options().temperature);
  std::vector<double> budgets;
  for (const BudgetPoint& point : layers.analysis.budgets) budgets.push_back(point.budget);
  Json values = Json::array();
  for (const AdvantageEstimate& each : advantages_at(run, layers, budgets)) {
    const Interval& part = each.advantage.allocation;
    const auto add = [&](std::string_view what, double estimate, double low, double high) {
      values.push_back({{"estimate", each.name},
                        {"what", what},
                        {"budget", each.budget},
                        {"value", estimate},
                        {"low", std::isfinite(low) ? low : estimate},
                        {"high", std::isfinite(high) ? high : estimate}});
    };
    add("gain", each.advantage.gain, each.advantage.gain, each.advantage.gain);
    add("by choosing", part.estimate, part.low, part.high);
    figure.table.rows.push_back({std::string(each.name), cell(each.budget),
                                 cell(each.advantage.gain), cell(part.estimate), cell(part.low),
                                 cell(part.high)});
  }
  const Json color{{"field", "what"}, {"type", "nominal"}, {"title", nullptr}};
  const Json x{{"field", "budget"},
               {"type", "quantitative"},
               {"title", "budget: mean layers"},
               {"scale", {{"zero", false}}}};
  const auto y = [](std::string_view field) {
    return Json{{"field", field}, {"type", "quantitative"}, {"title", "gain in mean ROUGE-L"}};
  };
  const auto layer = [&](Json mark) {
    return Json{{"mark", std::move(mark)},
                {"encoding", {{"x", x}, {"y", y("value")}, {"color", color}}}};
  };
  Json band = layer({{"type", "area"}, {"opacity", 0.25}});
  band["encoding"]["y"] = y("low");
  band["encoding"]["y2"] = {{"field", "high"}};
  figure.spec = {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
                 {"description", figure.title},
                 {"data", {{"values", std::move(values)}}},
                 {"facet", {{"field", "estimate"}, {"type", "nominal"}, {"title", nullptr}}},
                 {"spec",
                  {{"layer", Json::array({std::move(band), layer("line"),
                                          layer({{"type", "point"}, {"size", 20}})})}}}};
  return figure;
}

// --- verdicts

// Of a claim that a number is above a bound, by the number's interval.
Verdict judge_interval(std::string claim, std::string source, const Interval& interval,
                       double bound, std::string evidence) {
  const Outcome outcome = interval.low > bound    ? Outcome::holds
                          : interval.high < bound ? Outcome::does_not_hold
                                                  : Outcome::cannot_tell;  // or no interval
  return {std::move(claim), std::move(source), outcome, std::move(evidence)};
}

// Of the samples for which the oracle chooses such a depth under a budget.
template <class Chosen>
Interval share_chosen(const Analysed& run, double budget, const Chosen& chosen) {
  const std::vector<std::uint32_t> depths = run.problem.allocate(budget);
  const auto count = std::count_if(depths.begin(), depths.end(), chosen);
  return share_interval(static_cast<std::uint64_t>(count), depths.size());
}

std::string with_interval(const Interval& share) {
  if (!std::isfinite(share.low)) return percent(share.estimate);
  return fmt::format("{} (95% interval {} to {})", percent(share.estimate), percent(share.low),
                     percent(share.high));
}

// By sample: the best score at a depth or fewer layers.
std::vector<double> greedy_scores(const ScoreTable& table, std::size_t depth) {
  std::vector<double> best;
  for (std::size_t s = 0; s < table.samples(); ++s) {
    double score = table.quality(s, 0);
    for (std::size_t d = 1; d <= depth; ++d) score = std::max(score, table.quality(s, d));
    best.push_back(score);
  }
  return best;
}

// The claims on greedy oracle and oracle [Glavas24 A.5.1].
std::vector<Verdict> greedy_verdicts(const OracleRun& run, const Analysed& layers) {
  const std::string source = "[Glavas24 A.5.1, fig. 8]";
  const ScoreTable& table = layers.table;
  const std::size_t n = table.samples();
  std::vector<PairedComparison> growth;
  for (std::size_t d = 1; d < run.depths(); ++d) {
    const std::vector<double> now = greedy_scores(table, d);
    const std::vector<double> before = greedy_scores(table, d - 1);
    PairedComparison comparison{.name = "its advantage at a depth against the one before",
                                .cost = run.layers()[d],
                                .differences = {}};
    for (std::size_t s = 0; s < n; ++s) {
      comparison.differences.push_back((now[s] - table.quality(s, d)) -
                                       (before[s] - table.quality(s, d - 1)));
    }
    growth.push_back(std::move(comparison));
  }
  std::vector<Verdict> verdicts;
  verdicts.push_back(
      judge_above("The greedy oracle's advantage over the static model grows with the budget.",
                  source, growth, 0));
  if (run.depths() < 3) return verdicts;
  const double budget = run.layers()[1];
  const std::vector<std::uint32_t> oracle = layers.problem.allocate(budget);
  const std::vector<double> greedy = greedy_scores(table, 1);
  PairedComparison more{.name = "oracle over greedy against greedy over static",
                        .cost = run.layers()[1],
                        .differences = {}};
  PairedComparison enough{.name = "static and oracle over greedy against full",
                          .cost = run.layers()[1],
                          .differences = {}};
  for (std::size_t s = 0; s < n; ++s) {
    const double allocated = table.quality(s, oracle[s]) - greedy[s];
    const double fixed = table.quality(s, 1);
    more.differences.push_back(allocated - (greedy[s] - fixed));
    enough.differences.push_back(fixed + allocated - table.quality(s, run.depths() - 1));
  }
  verdicts.push_back(judge_above(
      fmt::format("At a budget of {} layers, the second depth (the paper's 8), the oracle's "
                  "advantage over the greedy oracle is greater than the greedy oracle's over the "
                  "static model.",
                  run.layers()[1]),
      source, {std::move(more)}, 0));
  verdicts.push_back(judge_above(
      fmt::format("The static model of {} layers with that advantage is better than the full one.",
                  run.layers()[1]),
      source, {std::move(enough)}, 0));
  return verdicts;
}

// That a test finds nothing does not show that there is nothing.
std::vector<Verdict> length_verdicts(const OracleAnalysis& analysis, bool articles) {
  std::vector<double> p_values;
  for (const LengthTest& test : analysis.length_tests) p_values.push_back(test.result.p_value);
  const std::vector<double> adjusted = holm(p_values);
  std::vector<Verdict> verdicts;
  for (std::size_t i = 0; i < analysis.length_tests.size(); ++i) {
    const LengthTest& test = analysis.length_tests[i];
    std::string evidence = fmt::format(
        "chi-squared {:.2f}, {} degrees of freedom, p = {:.2g}, {:.2g} with Holm's correction",
        test.result.statistic, test.result.degrees_of_freedom, test.result.p_value, adjusted[i]);
    if (!articles) {
      evidence += i == 0 ? "; the paper at 6 of 24: 29.02, 30, p = 0.51"
                         : "; the paper at 24 of 24: 40.57, 30, p = 0.09";
    }
    verdicts.push_back(
        {fmt::format("What the oracle chooses at a budget of {:.4g} layers does not depend on the "
                     "length of the label.",
                     test.budget),
         "[Glavas24 A.5.2, fig. 9]",
         adjusted[i] < significance_level ? Outcome::does_not_hold : Outcome::cannot_tell,
         std::move(evidence)});
  }
  return verdicts;
}

std::vector<Verdict> verdicts_of(const OracleRun& run, const Analysed& layers, bool articles) {
  const OracleAnalysis& analysis = layers.analysis;
  const std::string source = articles ? "[Glavas24 A.5.3, fig. 10]" : "[Glavas24 3.3, fig. 2]";
  const double full = analysis.static_cost.back();
  const Interval match{.estimate = share_of_full(analysis),
                       .low = analysis.match_full.low / full,
                       .high = analysis.match_full.high / full};
  const Interval cheapest = share_chosen(layers, analysis.match_full.estimate,
                                         [](std::uint32_t depth) { return depth == 0; });
  const Interval compressed =
      share_chosen(layers, full, [&](std::uint32_t depth) { return depth + 1 < run.depths(); });
  const auto paper = [&](std::string_view figure) {
    return articles ? std::string() : fmt::format("; {} in the paper", figure);
  };
  std::vector<Verdict> verdicts;
  verdicts.push_back(judge_interval(
      "The oracle equals the full model with less than a quarter of its layers.", source,
      {.estimate = -match.estimate, .low = -match.high, .high = -match.low}, -0.25,
      fmt::format("at {} of the layers; {} in the paper", with_interval(match),
                  percent(paper_oracle(articles).match))));
  if (run.depths() > 1) {
    verdicts.push_back(
        judge_interval("There it takes the cheapest model for most samples.", source, cheapest, 0.5,
                       fmt::format("for {}{}", with_interval(cheapest), paper("69.6%"))));
    verdicts.push_back(judge_interval(
        "With the full model's budget it still takes cheaper models for most samples.", source,
        compressed, 0.5, fmt::format("for {}{}", with_interval(compressed), paper("over 68%"))));
    std::vector<Verdict> more = greedy_verdicts(run, layers);
    std::move(more.begin(), more.end(), std::back_inserter(verdicts));
  }
  std::vector<Verdict> lengths = length_verdicts(analysis, articles);
  std::move(lengths.begin(), lengths.end(), std::back_inserter(verdicts));
  return verdicts;
}

// --- the page

std::string advantage_text(const AdvantageEstimate& estimate) {
  const Interval& part = estimate.advantage.allocation;
  std::string text =
      fmt::format("{:.4f} of {:.4f} ROUGE-L", part.estimate, estimate.advantage.gain);
  if (std::isfinite(part.low)) {
    text += fmt::format(", 95% interval {:.4f} to {:.4f}", part.low, part.high);
  }
  return text;
}

// What was done to the model before, which the paper fine-tunes for each depth.
std::string_view training_text(const RunConfig& config) {
  if (config.options.contains("adapter")) {
    return "The depths run with the adapter that is named below; how it was trained is not known "
           "here.";
  }
  return "The routes are untrained: the model was made neither for this data nor for running "
         "fewer layers, which is not the paper's setting.";
}

std::string summary_of(const RunConfig& config, const Analysed& layers,
                       const std::vector<AdvantageEstimate>& at_match) {
  std::string text = fmt::format("{} {} This is hindsight, and partly luck.", training_text(config),
                                 match_text(layers.table, layers.analysis));
  if (at_match.empty()) return text;
  std::vector<std::string> parts;
  for (const AdvantageEstimate& each : at_match) {
    parts.push_back(fmt::format("{} ({})", advantage_text(each),
                                each.name == "split" ? "choosing on one answer, scoring another"
                                                     : "exchanging depths of samples alike"));
  }
  return fmt::format(
      "{} Of what the oracle gains there over spending the budget blindly, choosing by the sample "
      "brings {}.",
      text, fmt::join(parts, "; "));
}

std::vector<std::string> choices_of(const OracleRun& run) {
  std::vector<std::string> choices;
  const auto add = [&](std::string_view choice) { choices.emplace_back(choice); };
  add("The prompt runs all layers; cost counts layers of generated tokens only [paper].");
  add(fmt::format(
      "Answers are greedy and at most {} tokens long; quality is ROUGE-L F1 against the "
      "label, without stemming [code].",
      run.options().max_new_tokens));
  add("The routes are not trained [ours; the paper trains the full model on the data, and each "
      "compressed one further].");
  add("Of equally good choices the oracle takes the cheapest [ours].");
  add("The interval of the budget that equals the full model is a BCa bootstrap over rows; claims "
      "on shares are judged by Wilson's intervals, taking the choices of rows for independent "
      "[ours].");
  add("Bins of label length count the tokens of this model's tokenizer [ours].");
  add("Seconds are all tokens of an answer times the median step of one sequence by itself at that "
      "depth; the prompt's pass, the same at all depths, is not in them [ours].");
  if (run.options().draws > 0) {
    add(
        fmt::format("Two more answers a depth are drawn at temperature {}, for the "
                    "split estimate only [ours].",
                    run.options().temperature));
  }
  return choices;
}

std::vector<Figure> figures_of(const OracleRun& run, const Analysed& layers, bool articles) {
  std::vector<Figure> figures;
  figures.push_back(selection_figure(
      layers.table, layers.analysis, articles ? "fig10" : "fig2",
      articles ? "Figure 10: what the oracle chooses under each budget, on articles"
               : "Figure 2: what the oracle chooses under each budget",
      paper_oracle(articles)));
  figures.push_back(advantage_figure(layers.table, layers.analysis));
  figures.push_back(length_figure(layers.table, layers.analysis));
  figures.push_back(depth_figure(run));
  if (layers.table.samples() >= 2 * permuted_group || run.options().draws > 0) {
    figures.push_back(sampling_figure(run, layers));
  }
  const Analysed tokens = analysed(run.scores(CostUnit::layer_tokens));
  figures.push_back(selection_figure(tokens.table, tokens.analysis, "tokens",
                                     "The same, where the length of an answer costs, too",
                                     std::nullopt));
  if (!run.timed()) return figures;
  const Analysed seconds = analysed(run.scores(CostUnit::seconds));
  figures.push_back(selection_figure(seconds.table, seconds.analysis, "seconds",
                                     "The same in seconds", std::nullopt));
  return figures;
}

std::string step_text(const OracleRun& run) {
  std::vector<std::string> parts;
  for (std::size_t d = 0; d < run.step_seconds().size(); ++d) {
    parts.push_back(
        fmt::format("{} {:.2f} ms", run.options().depths[d], 1000 * run.step_seconds()[d]));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string capped_text(const OracleRun& run) {
  std::vector<std::string> parts;
  for (std::size_t d = 0; d < run.depths(); ++d) {
    parts.push_back(
        fmt::format("{} {}", run.options().depths[d], percent(mean_of(run.at(d, is_capped)))));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

Report report_oracle(const RunFolder& folder) {
  const RunConfig& config = folder.config();
  const OracleRun run(
      folder, oracle_options_from_json(config.options, (folder.path() / "run.sqlite").string(),
                                       config.layers));
  // The paper's figure 10 is its figure 2 on such data.
  const bool articles = config.data_kind == name(ExampleKind::article);
  const Analysed layers = analysed(run.scores(CostUnit::layers));
  const std::vector<AdvantageEstimate> at_match =
      advantages_at(run, layers, {layers.analysis.match_full.estimate});

  Report report = begin_report(folder);
  report.title = fmt::format("The oracle: {}", config.model_name);
  const std::size_t seen = run.rows().size() + run.left_out().size();
  if (seen < config.rows) {
    report.warnings.push_back(
        fmt::format("Not complete: {} of {} rows are answered at every depth. The command below "
                    "goes on from there.",
                    seen, config.rows));
  }
  if (!run.left_out().empty()) {
    report.warnings.push_back(fmt::format("{} of {} rows were left out; the first, '{}', since {}.",
                                          run.left_out().size(), seen, run.left_out().front().id,
                                          run.left_out().front().left_out.value()));
  }
  report.summary = summary_of(config, layers, at_match);
  report.verdicts = verdicts_of(run, layers, articles);
  report.facts = {{"model", fmt::format("{}, {} layers", config.model_name, config.layers)},
                  {"data", std::filesystem::path(config.data_path).filename().string()},
                  {"samples", fmt::format("{}", run.rows().size())},
                  {"depths", fmt::format("{}", fmt::join(run.options().depths, ", "))},
                  {"cut off", capped_text(run)}};
  if (run.timed()) report.facts.emplace_back("a step", step_text(run));
  for (const AdvantageEstimate& each : at_match) {
    report.facts.emplace_back(fmt::format("{}", each.name), advantage_text(each));
  }
  report.figures = figures_of(run, layers, articles);
  report.choices = choices_of(run);
  folder.write("scores.csv", to_csv(scores_table(run, WithTokens::no)));
  folder.write("scores_tokens.csv", to_csv(scores_table(run, WithTokens::yes)));
  folder.write("answers.csv", to_csv(answers_table(run)));
  folder.write("budgets.csv", to_csv(budget_table(layers.table, layers.analysis)));
  publish(report, folder);
  return report;
}

}  // namespace fathom
