#include "study/oracle_figures.h"

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

Json new_spec(std::string_view description) {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", description}};
}

Json depth_field(const ScoreTable& table) {
  return {{"field", "depth"},
          {"type", "nominal"},
          {"title", "depth"},
          {"sort", table.depths},
          {"scale", {{"domain", table.depths}}}};
}

Json shown(std::string_view field, std::string_view title, std::string_view format) {
  return {{"field", field}, {"type", "quantitative"}, {"title", title}, {"format", format}};
}

// As the tables of figures show numbers.
std::string cell(double value) { return fmt::format("{:.6g}", value); }

// A five-pointed star as an SVG path, within -1 to 1.
constexpr std::string_view star =
    "M0,-1L0.225,-0.309L0.951,-0.309L0.363,0.118L0.588,0.809L0,0.382L-0.588,0.809L-0.363,0.118"
    "L-0.951,-0.309L-0.225,-0.309Z";

std::string bin_name(std::size_t bin) {
  return bin + 1 == length_bins ? "151+" : fmt::format("{}-{}", bin * 15 + 1, bin * 15 + 15);
}

}  // namespace

std::string_view cost_name(CostUnit unit) {
  switch (unit) {
    case CostUnit::layers:
      return "layers";
    case CostUnit::layer_tokens:
      return "layers x tokens";
    case CostUnit::seconds:
      break;
  }
  return "seconds";
}

double share_of_full(const OracleAnalysis& analysis) {
  return analysis.match_full.estimate / analysis.static_cost.back();
}

std::string match_text(const ScoreTable& table, const OracleAnalysis& analysis) {
  const Interval& match = analysis.match_full;
  std::string text =
      fmt::format("The oracle equals depth {} at a budget of {:.4g} {} ({:.1f}% of its {:.4g})",
                  table.depths.back(), match.estimate, cost_name(table.unit),
                  100 * share_of_full(analysis), analysis.static_cost.back());
  if (std::isfinite(match.low)) {
    text += fmt::format("; 95% interval over rows {:.4g} to {:.4g}", match.low, match.high);
  }
  return text + ".";
}

std::vector<double> shares_of(const BudgetPoint& point) {
  const auto samples = static_cast<double>(
      std::accumulate(point.counts.begin(), point.counts.end(), std::size_t{0}));
  std::vector<double> shares;
  for (const std::size_t count : point.counts) {
    shares.push_back(static_cast<double>(count) / samples);
  }
  return shares;
}

Table budget_table(const ScoreTable& table, const OracleAnalysis& analysis) {
  Table result{{"budget", "mean_quality", "mean_cost", "upper_bound", "optimal"}, {}};
  for (const std::string& depth : table.depths) result.columns.push_back("share_" + depth);
  for (const BudgetPoint& point : analysis.budgets) {
    std::vector<std::string> row;
    for (const double value :
         {point.budget, point.mean_quality, point.mean_cost, point.upper_bound}) {
      row.push_back(fmt::format("{}", value));
    }
    row.emplace_back(point.optimal ? "true" : "false");
    for (const double share : shares_of(point)) row.push_back(fmt::format("{}", share));
    result.rows.push_back(std::move(row));
  }
  return result;
}

Figure selection_figure(const ScoreTable& table, const OracleAnalysis& analysis, std::string id,
                        std::string title, const std::optional<PaperOracle>& paper) {
  const double full_cost = analysis.static_cost.back();
  const bool beside = paper && table.unit == CostUnit::layers;
  Figure figure{
      .id = std::move(id),
      .title = std::move(title),
      .caption =
          "Left, the share of the samples that each depth gets; right, the mean quality of the "
          "oracle, with the static models as points at their cost. ",
      .table = {{"budget", "mean_quality", "upper_bound"}, {}}};
  figure.caption += fmt::format("The star is where the oracle equals the deepest model: {:.4g} {}.",
                                analysis.match_full.estimate, cost_name(table.unit));
  if (beside) {
    figure.caption += fmt::format(
        " Dashed, where it does in the paper ({}): {:.1f}% of the layers{}", paper->setting,
        100 * paper->match, paper->models.empty() ? "." : "; diamonds, its static models.");
  }
  for (const std::string& depth : table.depths) figure.table.columns.push_back("share_" + depth);
  Json shares = Json::array();
  Json curve = Json::array();
  for (const BudgetPoint& point : analysis.budgets) {
    std::vector<std::string> row{cell(point.budget), cell(point.mean_quality),
                                 cell(point.upper_bound)};
    const std::vector<double> share = shares_of(point);
    for (std::size_t d = 0; d < table.depths.size(); ++d) {
      shares.push_back({{"budget", point.budget},
                        {"depth", table.depths[d]},
                        {"order", d},
                        {"share", share[d]}});
      row.push_back(cell(share[d]));
    }
    curve.push_back({{"budget", point.budget}, {"quality", point.mean_quality}});
    figure.table.rows.push_back(std::move(row));
  }
  Json models = Json::array();
  for (std::size_t d = 0; d < table.depths.size(); ++d) {
    models.push_back({{"budget", analysis.static_cost[d]},
                      {"quality", analysis.static_quality[d]},
                      {"depth", table.depths[d]}});
  }
  const Json x{{"field", "budget"},
               {"type", "quantitative"},
               {"title", fmt::format("budget: mean {}", cost_name(table.unit))},
               {"scale", {{"zero", false}}}};
  const Json y{{"field", "quality"},
               {"type", "quantitative"},
               {"title", "mean quality"},
               {"scale", {{"zero", false}}}};
  const Json tooltip =
      Json::array({shown("budget", "budget", ".4g"), shown("quality", "quality", ".4f")});
  const auto points = [&](Json values, Json mark, Json encoding) {
    mark["type"] = "point";
    encoding["x"] = x;
    encoding["y"] = y;
    encoding["tooltip"] = tooltip;
    return Json{{"data", {{"values", std::move(values)}}},
                {"mark", std::move(mark)},
                {"encoding", std::move(encoding)}};
  };
  const auto paper_rule = [&] {
    return Json{{"data", {{"values", Json::array({{{"budget", paper->match * full_cost}}})}}},
                {"mark", {{"type", "rule"}, {"strokeDash", {6, 4}}}},
                {"encoding", {{"x", x}, {"tooltip", Json::array({tooltip[0]})}}}};
  };
  Json left = Json::array({{{"data", {{"values", std::move(shares)}}},
                            {"mark", "area"},
                            {"encoding",
                             {{"x", x},
                              {"y",
                               {{"field", "share"},
                                {"type", "quantitative"},
                                {"title", "share of samples"},
                                {"stack", "zero"},
                                {"scale", {{"domain", {0, 1}}}}}},
                              {"color", depth_field(table)},
                              {"order", {{"field", "order"}, {"type", "quantitative"}}}}}}});
  Json right = Json::array(
      {{{"data", {{"values", curve}}}, {"mark", "line"}, {"encoding", {{"x", x}, {"y", y}}}},
       points(std::move(curve), {{"size", 20}}, Json::object()),
       points(std::move(models), {{"filled", true}, {"size", 60}}, {{"color", depth_field(table)}}),
       points(Json::array({{{"budget", analysis.match_full.estimate},
                            {"quality", analysis.static_quality.back()}}}),
              {{"shape", star}, {"filled", true}, {"size", 160}}, Json::object())});
  if (beside) {
    left.push_back(paper_rule());
    right.push_back(paper_rule());
    Json theirs = Json::array();
    for (const PaperOracle::Model& model : paper->models) {
      theirs.push_back({{"budget", model.cost * full_cost}, {"quality", model.quality}});
    }
    if (!theirs.empty()) {
      right.push_back(
          points(std::move(theirs), {{"shape", "diamond"}, {"size", 60}}, Json::object()));
    }
  }
  figure.spec = new_spec(figure.title);
  figure.spec["concat"] = Json::array({{{"title", "shares"}, {"layer", std::move(left)}},
                                       {{"title", "quality"}, {"layer", std::move(right)}}});
  return figure;
}

Figure advantage_figure(const ScoreTable& table, const OracleAnalysis& analysis) {
  Figure figure{.id = "fig8",
                .title = "Figure 8: static models, the greedy oracle, the oracle",
                .caption =
                    "The greedy oracle takes each sample's best depth up to a limit; the oracle "
                    "may also move "
                    "budget from one sample to another.",
                .table = {{"series", "cost", "mean_quality"}, {}}};
  Json values = Json::array();
  const auto add = [&](std::string_view series, double cost, double quality) {
    values.push_back({{"series", series}, {"cost", cost}, {"quality", quality}});
    figure.table.rows.push_back({std::string(series), cell(cost), cell(quality)});
  };
  for (std::size_t d = 0; d < table.depths.size(); ++d) {
    add("static", analysis.static_cost[d], analysis.static_quality[d]);
  }
  for (std::size_t d = 0; d < table.depths.size(); ++d) {
    add("greedy", analysis.static_cost[d], analysis.greedy[d]);
  }
  for (const BudgetPoint& point : analysis.budgets) {
    add("oracle", point.budget, point.mean_quality);
  }
  const Json series{{"field", "series"},
                    {"type", "nominal"},
                    {"title", nullptr},
                    {"sort", {"oracle", "greedy", "static"}}};
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  figure.spec["encoding"] = {{"x",
                              {{"field", "cost"},
                               {"type", "quantitative"},
                               {"title", fmt::format("budget: mean {}", cost_name(table.unit))},
                               {"scale", {{"zero", false}}}}},
                             {"y",
                              {{"field", "quality"},
                               {"type", "quantitative"},
                               {"title", "mean quality"},
                               {"scale", {{"zero", false}}}}},
                             {"color", series}};
  figure.spec["layer"] =
      Json::array({{{"mark", "line"}, {"encoding", {{"strokeDash", series}}}},
                   {{"mark", {{"type", "point"}, {"size", 30}}},
                    {"encoding",
                     {{"tooltip", Json::array({{{"field", "series"}, {"title", "series"}},
                                               shown("cost", "budget", ".4g"),
                                               shown("quality", "quality", ".4f")})}}}}});
  return figure;
}

Figure length_figure(const ScoreTable& table, const OracleAnalysis& analysis) {
  Figure figure{.id = "fig9",
                .title = "Figure 9: what the oracle chooses by length of the label",
                .caption = "Bins of 15 tokens, the last above 150. ",
                .table = {{"budget", "label_tokens", "samples"}, {}}};
  for (const std::string& depth : table.depths) figure.table.columns.push_back("share_" + depth);
  Json values = Json::array();
  Json bins = Json::array();
  for (std::size_t b = 0; b < length_bins; ++b) bins.push_back(bin_name(b));
  for (const LengthTest& test : analysis.length_tests) {
    const std::string panel = fmt::format("budget {:.4g}", test.budget);
    figure.caption +=
        fmt::format("At {:.4g} {}: chi-squared {:.2f}, {} degrees of freedom, p = {:.2g}. ",
                    test.budget, cost_name(table.unit), test.result.statistic,
                    test.result.degrees_of_freedom, test.result.p_value);
    for (std::size_t b = 0; b < length_bins; ++b) {
      const std::vector<std::uint64_t>& counts = test.counts[b];
      const auto samples = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
      if (samples == 0) continue;
      std::vector<std::string> row{cell(test.budget), bin_name(b), fmt::format("{}", samples)};
      for (std::size_t d = 0; d < table.depths.size(); ++d) {
        const double part = static_cast<double>(counts[d]) / static_cast<double>(samples);
        values.push_back({{"panel", panel},
                          {"bin", bin_name(b)},
                          {"depth", table.depths[d]},
                          {"order", d},
                          {"share", part},
                          {"samples", samples}});
        row.push_back(cell(part));
      }
      figure.table.rows.push_back(std::move(row));
    }
  }
  figure.caption.pop_back();
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  figure.spec["mark"] = "bar";
  figure.spec["encoding"] = {
      {"x",
       {{"field", "bin"}, {"type", "nominal"}, {"title", "tokens of the label"}, {"sort", bins}}},
      {"y",
       {{"field", "share"},
        {"type", "quantitative"},
        {"title", "share of samples"},
        {"scale", {{"domain", {0, 1}}}}}},
      {"color", depth_field(table)},
      {"order", {{"field", "order"}, {"type", "quantitative"}}},
      {"tooltip", Json::array({{{"field", "bin"}, {"title", "tokens of the label"}},
                               {{"field", "depth"}, {"title", "depth"}},
                               shown("share", "share", ".3f"),
                               {{"field", "samples"}, {"title", "samples"}}})},
      {"facet", {{"field", "panel"}, {"type", "nominal"}, {"title", nullptr}}}};
  return figure;
}

std::vector<Figure> oracle_figures(const ScoreTable& table, const OracleAnalysis& analysis) {
  std::vector<Figure> figures{
      selection_figure(table, analysis, "fig2",
                       "Figure 2: what the oracle chooses under each budget", std::nullopt),
      advantage_figure(table, analysis)};
  if (!analysis.length_tests.empty()) figures.push_back(length_figure(table, analysis));
  return figures;
}

}  // namespace fathom
