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

double share(const BudgetPoint& point, std::size_t depth, const ScoreTable& table) {
  return static_cast<double>(point.counts[depth]) / static_cast<double>(table.samples());
}

// As the tables of figures show numbers.
std::string cell(double value) { return fmt::format("{:.6g}", value); }

std::string bin_name(std::size_t bin) {
  return bin + 1 == length_bins ? "151+" : fmt::format("{}-{}", bin * 15 + 1, bin * 15 + 15);
}

}  // namespace

std::string_view cost_name(CostUnit unit) {
  return unit == CostUnit::layers ? "layers" : "layers x tokens";
}

Figure selection_figure(const ScoreTable& table, const OracleAnalysis& analysis) {
  Figure figure{
      .id = "fig2",
      .title = "Figure 2: what the oracle chooses under each budget",
      .caption =
          "Left, the share of the samples that each depth gets; right, the mean quality of the "
          "oracle, with the static models as points at their cost. ",
      .table = {{"budget", "mean_quality", "upper_bound"}, {}}};
  figure.caption += fmt::format("The oracle equals the deepest model at {:.4g} {}.",
                                analysis.match_full.estimate, cost_name(table.unit));
  for (const std::string& depth : table.depths) figure.table.columns.push_back("share_" + depth);
  Json shares = Json::array();
  Json curve = Json::array();
  for (const BudgetPoint& point : analysis.budgets) {
    std::vector<std::string> row{cell(point.budget), cell(point.mean_quality),
                                 cell(point.upper_bound)};
    for (std::size_t d = 0; d < table.depths.size(); ++d) {
      shares.push_back({{"budget", point.budget},
                        {"depth", table.depths[d]},
                        {"order", d},
                        {"share", share(point, d, table)}});
      row.push_back(cell(share(point, d, table)));
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
  figure.spec = new_spec(figure.title);
  figure.spec["concat"] = Json::array(
      {{{"title", "shares"},
        {"data", {{"values", std::move(shares)}}},
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
          {"order", {{"field", "order"}, {"type", "quantitative"}}}}}},
       {{"title", "quality"},
        {"layer",
         {{{"data", {{"values", curve}}}, {"mark", "line"}, {"encoding", {{"x", x}, {"y", y}}}},
          {{"data", {{"values", std::move(curve)}}},
           {"mark", {{"type", "point"}, {"size", 20}}},
           {"encoding", {{"x", x}, {"y", y}, {"tooltip", tooltip}}}},
          {{"data", {{"values", std::move(models)}}},
           {"mark", {{"type", "point"}, {"filled", true}, {"size", 60}}},
           {"encoding",
            {{"x", x}, {"y", y}, {"color", depth_field(table)}, {"tooltip", tooltip}}}}}}}});
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
  std::vector<Figure> figures{selection_figure(table, analysis), advantage_figure(table, analysis)};
  if (!analysis.length_tests.empty()) figures.push_back(length_figure(table, analysis));
  return figures;
}

}  // namespace fathom
