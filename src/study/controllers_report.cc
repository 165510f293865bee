#include "study/controllers_report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "metrics/curve_difference.h"
#include "metrics/holm.h"
#include "metrics/interval.h"
#include "study/controllers.h"
#include "study/publish.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

constexpr double significance = 0.05;
constexpr double margin = 0.01;  // of ROUGE-L, within which two are equivalent

std::string cell_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "";
}

std::string input_text(ControllerInput input) {
  return input == ControllerInput::hidden ? "hidden state" : "fixed input";
}

/// What a cell's answers come to.
struct Point {
  const ControllerCell* cell;
  double mean_layers = 0;  // a token, over all routed passes
  Interval rouge_l;
  std::vector<double> skips;  // by layer, the share of routed passes
  double capped = 0;          // share of the answers
};

/// The rows of a run and what they come to.
class ControllersRun {
 public:
  explicit ControllersRun(const RunFolder& folder)
      : options_(controllers_options_from_json(folder.config().options,
                                               (folder.path() / "run.sqlite").string())),
        depth_(folder.config().layers) {
    for (ControllersRow& row : read_controllers_study(folder, options_)) {
      (row.left_out ? left_out_ : rows_).push_back(std::move(row));
    }
    if (rows_.empty()) {
      throw FileError(folder.path().string(), "",
                      "no row is answered in every cell yet, so there is nothing to report");
    }
    for (std::size_t c = 0; c < options_.cells.size(); ++c) points_.push_back(point(c));
  }

  [[nodiscard]] const ControllersOptions& options() const { return options_; }
  [[nodiscard]] const std::vector<ControllersRow>& rows() const { return rows_; }
  [[nodiscard]] const std::vector<ControllersRow>& left_out() const { return left_out_; }
  [[nodiscard]] const std::vector<Point>& points() const { return points_; }
  [[nodiscard]] std::int32_t depth() const { return depth_; }
  [[nodiscard]] std::vector<std::string> backbones() const {
    std::vector<std::string> found;
    for (const std::string each : {"joint", "frozen"}) {
      if (std::any_of(options_.cells.begin(), options_.cells.end(),
                      [&](const ControllerCell& cell) { return cell.backbone == each; })) {
        found.push_back(each);
      }
    }
    return found;
  }

  // The cells of an input and backbone as a curve; those that generated no second token have no
  // cost.
  [[nodiscard]] CostCurve curve(std::string_view backbone, ControllerInput input) const {
    CostCurve curve;
    for (std::size_t c = 0; c < options_.cells.size(); ++c) {
      const ControllerCell& cell = options_.cells[c];
      if (cell.backbone != backbone || cell.input != input) continue;
      if (!std::isfinite(points_[c].mean_layers)) continue;
      std::vector<double> quality, cost, weight;
      for (const ControllersRow& row : rows_) {
        quality.push_back(row.answers[c].rouge_l);
        cost.push_back(layers_run(row.answers[c]));
        weight.push_back(static_cast<double>(row.answers[c].passes));
      }
      curve.quality.push_back(std::move(quality));
      curve.cost.push_back(std::move(cost));
      curve.weight.push_back(std::move(weight));
    }
    return curve;
  }

  [[nodiscard]] double layers_run(const ControlledAnswer& answer) const {
    double layers = 0;
    for (const std::uint64_t skips : answer.skips) {
      layers += static_cast<double>(answer.passes - skips);
    }
    return layers;
  }

 private:
  [[nodiscard]] Point point(std::size_t cell) const {
    Point point{.cell = &options_.cells[cell]};
    std::vector<double> scores;
    double layers = 0, passes = 0;
    point.skips.assign(static_cast<std::size_t>(depth_), 0.0);
    for (const ControllersRow& row : rows_) {
      const ControlledAnswer& answer = row.answers[cell];
      scores.push_back(answer.rouge_l);
      layers += layers_run(answer);
      passes += static_cast<double>(answer.passes);
      if (answer.capped) point.capped += 1.0 / static_cast<double>(rows_.size());
      for (std::size_t l = 0; l < point.skips.size(); ++l) {
        point.skips[l] += static_cast<double>(answer.skips[l]);
      }
    }
    point.rouge_l = t_interval(scores);
    point.mean_layers = layers / passes;
    for (double& each : point.skips) each /= passes;
    return point;
  }

  ControllersOptions options_;
  std::int32_t depth_;
  std::vector<ControllersRow> rows_, left_out_;
  std::vector<Point> points_;
};

/// How the inputs differ under one backbone.
struct Comparison {
  std::string backbone;
  std::vector<CurveDifference> at;  // hidden state less fixed input
};

std::vector<Comparison> compare(const ControllersRun& run) {
  std::vector<Comparison> comparisons;
  for (const std::string& backbone : run.backbones()) {
    const CostCurve hidden = run.curve(backbone, ControllerInput::hidden);
    const CostCurve fixed = run.curve(backbone, ControllerInput::fixed);
    Comparison comparison{.backbone = backbone, .at = {}};
    if (!hidden.quality.empty() && !fixed.quality.empty()) {
      comparison.at = compare_curves(hidden, fixed, {.margin = margin, .seed = run.options().seed});
    }
    comparisons.push_back(std::move(comparison));
  }
  return comparisons;
}

// --- figures

Json new_spec(std::string_view description) {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", description}};
}

Json input_field() {
  const Json names{input_text(ControllerInput::hidden), input_text(ControllerInput::fixed)};
  return {{"field", "input"},
          {"type", "nominal"},
          {"title", nullptr},
          {"sort", names},
          {"scale", {{"domain", names}}}};
}

Json shown(std::string_view field, std::string_view title, std::string_view format) {
  return {{"field", field}, {"type", "quantitative"}, {"title", title}, {"format", format}};
}

// Figures 1b and 7: ROUGE-L against mean layers.
Figure cost_figure(const ControllersRun& run, std::string_view backbone) {
  const bool joint = backbone == "joint";
  Figure figure{.id = joint ? "fig1b" : "fig7",
                .title = joint ? "Figure 1b: ROUGE-L against cost, trained with the backbone"
                               : "Figure 7: ROUGE-L against cost, with a frozen backbone",
                .caption =
                    "Each point is an alpha: the mean layers of its generated tokens and the mean "
                    "ROUGE-L of its answers with the 95% interval over prompts.",
                .table = {{"input", "alpha", "mean_layers", "rouge_l_mean", "rouge_l_low",
                           "rouge_l_high", "capped"},
                          {}}};
  Json values = Json::array();
  for (const Point& point : run.points()) {
    if (point.cell->backbone != backbone || !std::isfinite(point.mean_layers)) continue;
    const auto number = [](double value) {
      return std::isfinite(value) ? Json(value) : Json(nullptr);
    };
    values.push_back({{"input", input_text(point.cell->input)},
                      {"alpha", point.cell->alpha},
                      {"layers", point.mean_layers},
                      {"mean", point.rouge_l.estimate},
                      {"low", number(point.rouge_l.low)},
                      {"high", number(point.rouge_l.high)}});
    figure.table.rows.push_back({input_text(point.cell->input), cell_text(point.cell->alpha),
                                 cell_text(point.mean_layers), cell_text(point.rouge_l.estimate),
                                 cell_text(point.rouge_l.low), cell_text(point.rouge_l.high),
                                 cell_text(point.capped)});
  }
  const auto y = [](std::string_view field) {
    return Json{{"field", field},
                {"type", "quantitative"},
                {"title", "ROUGE-L"},
                {"scale", {{"zero", false}}}};
  };
  const Json tooltip = Json::array({{{"field", "input"}, {"title", "input"}},
                                    {{"field", "alpha"}, {"title", "alpha"}},
                                    shown("layers", "mean layers", ".2f"),
                                    shown("mean", "ROUGE-L", ".4f"),
                                    shown("low", "95% from", ".4f"),
                                    shown("high", "95% to", ".4f")});
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  figure.spec["encoding"] = {{"x",
                              {{"field", "layers"},
                               {"type", "quantitative"},
                               {"title", "mean layers a token"},
                               {"scale", {{"zero", false}}}}},
                             {"color", input_field()}};
  figure.spec["layer"] = Json::array(
      {{{"mark", "rule"}, {"encoding", {{"y", y("low")}, {"y2", {{"field", "high"}}}}}},
       {{"mark", "line"}, {"encoding", {{"y", y("mean")}, {"strokeDash", input_field()}}}},
       {{"mark", {{"type", "point"}, {"filled", true}, {"size", 50}}},
        {"encoding", {{"y", y("mean")}, {"tooltip", tooltip}}}}});
  return figure;
}

// Figure 6: how often each layer is skipped.
Figure skip_figure(const ControllersRun& run, std::string_view backbone) {
  const bool joint = backbone == "joint";
  Figure figure{
      .id = joint || run.backbones().size() == 1 ? "fig6" : "fig6-frozen",
      .title = fmt::format("Figure 6: share of generated tokens that skip each layer, backbone {}",
                           backbone),
      .caption =
          "One panel an alpha. The first and the last layer have no controller and always run.",
      .table = {{"input", "alpha", "layer", "skipped"}, {}}};
  Json values = Json::array();
  for (const Point& point : run.points()) {
    if (point.cell->backbone != backbone || !std::isfinite(point.mean_layers)) continue;
    for (std::size_t l = 0; l < point.skips.size(); ++l) {
      values.push_back({{"input", input_text(point.cell->input)},
                        {"panel", fmt::format("alpha {}", point.cell->alpha)},
                        {"layer", l + 1},
                        {"skipped", point.skips[l]}});
      figure.table.rows.push_back({input_text(point.cell->input), cell_text(point.cell->alpha),
                                   fmt::format("{}", l + 1), cell_text(point.skips[l])});
    }
  }
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  figure.spec["mark"] = {{"type", "line"}, {"point", true}};
  figure.spec["encoding"] = {
      {"x", {{"field", "layer"}, {"type", "quantitative"}, {"title", "layer"}}},
      {"y",
       {{"field", "skipped"},
        {"type", "quantitative"},
        {"title", "share of tokens that skip it"},
        {"scale", {{"domain", {0, 1}}}}}},
      {"color", input_field()},
      {"strokeDash", input_field()},
      {"facet", {{"field", "panel"}, {"type", "nominal"}, {"title", nullptr}}}};
  return figure;
}

// --- what the tests say

std::string numbers_text(const CurveDifference& each) {
  return fmt::format("at {:.2f} layers {:+.4f} [{:+.4f}, {:+.4f}], p of equivalence {:.3g}",
                     each.cost, each.estimate, each.low, each.high, each.p_equivalent);
}

Verdict gain_verdict(const ControllersRun& run, const Comparison& comparison) {
  const bool joint = comparison.backbone == "joint";
  Verdict verdict{.claim = fmt::format(
                      "With the backbone {}, looking at the hidden state brings no gain over a "
                      "fixed input.",
                      comparison.backbone),
                  .source = joint ? "[Glavas24 3.2, fig. 1b]" : "[Glavas24 A.4.3, fig. 7]",
                  .evidence = {}};
  if (comparison.at.empty()) {
    verdict.evidence = "The curves of the two inputs have no cost in common.";
    return verdict;
  }
  std::vector<double> gains;
  bool equivalent = true;
  for (const CurveDifference& each : comparison.at) {
    gains.push_back(each.p_greater);
    equivalent = equivalent && each.p_equivalent < significance;
  }
  const std::vector<double> adjusted = holm(gains);
  const bool gain =
      std::any_of(adjusted.begin(), adjusted.end(), [](double p) { return p < significance; });
  if (gain) {
    verdict.outcome = Outcome::does_not_hold;
  } else if (equivalent) {
    verdict.outcome = Outcome::holds;
  }
  verdict.evidence = fmt::format(
      "ROUGE-L of the hidden state less that of the fixed input, n = {}: ", run.rows().size());
  for (std::size_t i = 0; i < comparison.at.size(); ++i) {
    if (i > 0) verdict.evidence += "; ";
    verdict.evidence += numbers_text(comparison.at[i]);
  }
  verdict.evidence += fmt::format(
      ". {}; {} within {} (two one-sided tests at every cost, level {}).",
      gain ? "A gain is significant at one cost or more (Holm)" : "No gain is significant (Holm)",
      equivalent ? "shown to be equivalent" : "not shown to be equivalent", margin, significance);
  return verdict;
}

// How far the inputs' skip shares are apart, over the layers with a controller, for each alpha that
// both have.
std::vector<std::pair<double, double>> skip_distances(const ControllersRun& run,
                                                      std::string_view backbone) {
  std::vector<std::pair<double, double>> distances;
  for (const Point& hidden : run.points()) {
    if (hidden.cell->backbone != backbone || hidden.cell->input != ControllerInput::hidden)
      continue;
    for (const Point& fixed : run.points()) {
      if (fixed.cell->backbone != backbone || fixed.cell->input != ControllerInput::fixed ||
          fixed.cell->alpha != hidden.cell->alpha) {
        continue;
      }
      double distance = 0;
      for (std::size_t l = 1; l + 1 < hidden.skips.size(); ++l) {
        distance += std::abs(hidden.skips[l] - fixed.skips[l]);
      }
      distances.emplace_back(hidden.cell->alpha, distance / (run.depth() - 2));
    }
  }
  return distances;
}

// --- tables

Table answers_table(const ControllersRun& run) {
  Table table{{"sample", "id", "input", "backbone", "alpha", "tokens", "passes", "layers_run",
               "rouge_l", "capped"},
              {}};
  for (const ControllersRow& row : run.rows()) {
    for (std::size_t c = 0; c < row.answers.size(); ++c) {
      const ControllerCell& cell = run.options().cells[c];
      const ControlledAnswer& answer = row.answers[c];
      table.rows.push_back({fmt::format("{}", row.sample), row.id, std::string(name(cell.input)),
                            cell.backbone, fmt::format("{}", cell.alpha),
                            fmt::format("{}", answer.tokens), fmt::format("{}", answer.passes),
                            fmt::format("{}", run.layers_run(answer)),
                            fmt::format("{}", answer.rouge_l), answer.capped ? "true" : "false"});
    }
  }
  return table;
}

Table comparison_table(const std::vector<Comparison>& comparisons) {
  Table table{{"backbone", "mean_layers", "difference", "low", "high", "p_greater", "p_less",
               "p_equivalent"},
              {}};
  for (const Comparison& comparison : comparisons) {
    for (const CurveDifference& each : comparison.at) {
      table.rows.push_back({comparison.backbone, cell_text(each.cost), cell_text(each.estimate),
                            cell_text(each.low), cell_text(each.high), cell_text(each.p_greater),
                            cell_text(each.p_less), cell_text(each.p_equivalent)});
    }
  }
  return table;
}

std::vector<std::string> choices_of(const ControllersRun& run) {
  return {
      fmt::format("Gates decide by '{}'; draws depend on the seed, the row's id, the position and "
                  "the layer.",
                  to_string(run.options().gates)),
      "Mean layers count every generated token but the first, which the prompt's pass predicts, "
      "and "
      "weigh tokens alike, not answers.",
      fmt::format("Equivalence: two one-sided tests with a margin of {} ROUGE-L, by the bootstrap "
                  "over prompts, drawn jointly for all points of both curves; between points the "
                  "curves are interpolated linearly, and compared at five costs that both reach. "
                  "They are equivalent if they are at each of these.",
                  margin),
      fmt::format("Answers are greedy, at most {} new tokens; ROUGE-L is F1 against the label "
                  "without stemming.",
                  run.options().max_new_tokens)};
}

}  // namespace

Report report_controllers(const RunFolder& folder) {
  const RunConfig& config = folder.config();
  const ControllersRun run(folder);
  const std::vector<Comparison> comparisons = compare(run);
  Report report = begin_report(folder);
  report.title = fmt::format("Skip controllers: {}", config.model_name);
  const std::size_t seen = run.rows().size() + run.left_out().size();
  if (seen < config.rows) {
    report.warnings.push_back(fmt::format(
        "Not complete: {} of {} rows are answered in every cell. The command below goes "
        "on from there.",
        seen, config.rows));
  }
  if (!run.left_out().empty()) {
    report.warnings.push_back(fmt::format("{} of {} rows were left out; the first, '{}', since {}.",
                                          run.left_out().size(), seen, run.left_out().front().id,
                                          run.left_out().front().left_out.value()));
  }
  report.facts = {{"model", fmt::format("{}, {} layers", config.model_name, config.layers)},
                  {"data", std::filesystem::path(config.data_path).filename().string()},
                  {"samples", fmt::format("{}", run.rows().size())}};
  for (const Point& point : run.points()) {
    report.facts.emplace_back(
        point.cell->name(),
        fmt::format("{:.2f} layers a token, ROUGE-L {:.4f}, {:.1f}% of the answers cut off",
                    point.mean_layers, point.rouge_l.estimate, 100 * point.capped));
  }
  for (const Comparison& comparison : comparisons) {
    report.verdicts.push_back(gain_verdict(run, comparison));
    report.summary +=
        report.verdicts.back().claim + " This " +
        std::string(comparison.at.empty() || report.verdicts.back().outcome == Outcome::cannot_tell
                        ? "cannot be told from these answers. "
                        : fmt::format("{}. ", name(report.verdicts.back().outcome)));
    for (const auto& [alpha, distance] : skip_distances(run, comparison.backbone)) {
      report.facts.emplace_back(
          fmt::format("skip shares, {}, alpha {}", comparison.backbone, alpha),
          fmt::format("the inputs' differ by {:.3f} a layer, on average", distance));
    }
    report.figures.push_back(cost_figure(run, comparison.backbone));
    report.figures.push_back(skip_figure(run, comparison.backbone));
  }
  if (!report.summary.empty()) report.summary.pop_back();
  report.choices = choices_of(run);
  folder.write("answers.csv", to_csv(answers_table(run)));
  folder.write("comparison.csv", to_csv(comparison_table(comparisons)));
  publish(report, folder);
  return report;
}

}  // namespace fathom
