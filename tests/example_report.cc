// Writes a report with one figure of each kind, from made-up numbers: for
// tests/report_page_test.py, and to look at when the page changes. Usage: example_report FILE.html
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "report/report.h"

namespace {

using Json = nlohmann::ordered_json;

constexpr int depth = 30;

Json quantitative(std::string_view field, std::string_view title) {
  return {{"field", field}, {"type", "quantitative"}, {"title", title}};
}

// A column for each layer or cost.
Json ordinal(std::string_view field, std::string_view title) {
  return {{"field", field}, {"type", "ordinal"}, {"title", title}};
}

// Two panels of lines over their confidence bands.
fathom::Figure lines() {
  struct Series {
    std::string_view policy;
    double bend;
  };
  constexpr Series all[] = {
      {"uniform", 1.1}, {"first (early exit)", 2.6}, {"random", 1.6}, {"block", 2.0}};
  fathom::Figure figure{.id = "fig1",
                        .title = "Figure 1: similarity to the full model against cost",
                        .caption =
                            "Mean cosine similarity of the last hidden state, with bands of "
                            "95% confidence over 500 sequences. Uniform skipping stays "
                            "closest at every cost; early exit falls first.",
                        .table = {{"task", "policy", "cost", "similarity", "low", "high"}, {}}};
  Json rows = Json::array();
  for (const std::string_view task : {"summarization", "question answering"}) {
    for (const Series& series : all) {
      for (int cost = 1; cost <= depth; ++cost) {
        const double share = static_cast<double>(cost) / depth;
        const double bend = series.bend * (task == "summarization" ? 1 : 1.4);
        const double mean = std::pow(share, bend) + 0.01 * std::sin(cost) * (1 - share);
        const double half = 0.06 * (1 - share) + 0.004;
        rows.push_back({{"task", task},
                        {"policy", series.policy},
                        {"cost", cost},
                        {"similarity", mean},
                        {"low", mean - half},
                        {"high", mean + half}});
        figure.table.rows.push_back({std::string(task), std::string(series.policy),
                                     std::to_string(cost), fmt::format("{:.3f}", mean),
                                     fmt::format("{:.3f}", mean - half),
                                     fmt::format("{:.3f}", mean + half)});
      }
    }
  }
  const Json policy = {
      {"field", "policy"}, {"type", "nominal"}, {"title", nullptr}, {"sort", nullptr}};
  Json color = policy;
  color["legend"] = {{"symbolType", "stroke"}, {"symbolSize", 300}};  // a piece of the line
  Json panels = Json::array();
  for (const std::string_view task : {"summarization", "question answering"}) {
    panels.push_back(
        {{"title", task},
         {"transform", {{{"filter", {{"field", "task"}, {"equal", task}}}}}},
         {"encoding", {{"x", quantitative("cost", "cost, layers")}, {"color", color}}},
         {"layer",
          {{{"mark", {{"type", "area"}, {"opacity", 0.18}}},
            {"encoding", {{"y", quantitative("low", "similarity")}, {"y2", {{"field", "high"}}}}}},
           {{"mark", "line"},
            {"encoding",
             {{"y", quantitative("similarity", "similarity")}, {"strokeDash", policy}}}},
           {{"mark", {{"type", "point"}, {"size", 30}}},
            {"encoding", {{"y", quantitative("similarity", "similarity")}}}}}}});
  }
  figure.spec = {{"data", {{"values", rows}}}, {"concat", panels}};
  return figure;
}

// 30 x 30 cells.
fathom::Figure heatmap() {
  fathom::Figure figure{.id = "fig2",
                        .title = "Figure 2: which layers agree",
                        .caption =
                            "Cosine similarity of the hidden states after each pair of "
                            "layers. The first and the last layers stand apart.",
                        .panel_aspect = 1,
                        .table = {{"layer", "other layer", "similarity"}, {}}};
  Json rows = Json::array();
  for (int a = 1; a <= depth; ++a) {
    for (int b = 1; b <= depth; ++b) {
      const double edge = (a <= 2) != (b <= 2) || (a >= 29) != (b >= 29) ? 0.35 : 1;
      const double similarity = edge * std::exp(-std::abs(a - b) / 14.0);
      rows.push_back({{"layer", a}, {"other", b}, {"similarity", similarity}});
      figure.table.rows.push_back(
          {std::to_string(a), std::to_string(b), fmt::format("{:.3f}", similarity)});
    }
  }
  figure.spec = {{"data", {{"values", rows}}},
                 {"mark", "rect"},
                 {"encoding",
                  {{"x", ordinal("layer", "layer")},
                   {"y", ordinal("other", "other layer")},
                   {"color", quantitative("similarity", "similarity")}}}};
  return figure;
}

// Small heatmaps side by side.
fathom::Figure facets() {
  fathom::Figure figure{.id = "fig3",
                        .title = "Figure 3: layers that routes run",
                        .caption =
                            "A route is a column: cost from left to right, layers from "
                            "bottom to top.",
                        .panel_aspect = 1,
                        .table = {{"policy", "cost", "layer"}, {}}};
  Json rows = Json::array();
  const auto add = [&](std::string_view policy, int cost, int layer) {
    rows.push_back({{"policy", policy}, {"cost", cost}, {"layer", layer}});
    figure.table.rows.push_back({std::string(policy), std::to_string(cost), std::to_string(layer)});
  };
  for (int cost = 1; cost <= depth; ++cost) {
    for (int layer = 1; layer <= cost; ++layer) {
      add("first", cost, layer);
      add("uniform", cost, 1 + (layer - 1) * depth / cost);
      add("block", cost, layer <= (cost + 1) / 2 ? layer : depth - cost + layer);
    }
  }
  Json y = ordinal("layer", "layer");
  y["sort"] = "descending";
  figure.spec = {{"data", {{"values", rows}}},
                 {"mark", "rect"},
                 {"encoding",
                  {{"facet", {{"field", "policy"}, {"type", "nominal"}, {"sort", nullptr}}},
                   {"x", ordinal("cost", "cost, layers")},
                   {"y", y}}}};
  return figure;
}

// One wide panel, with text that tries to leave its place.
fathom::Figure bars() {
  fathom::Figure figure{
      .id = "fig4",
      .title = "Figure 4: tokens a second </script><b>&amp;",
      .caption = "Decoding, one sequence. <i>Not italic</i>, \"quoted\", and ill-formed: \xff.",
      .table = {{"policy", "tokens/s", "note"}, {}}};
  Json rows = Json::array();
  const std::vector<std::pair<std::string, double>> speeds = {
      {"full", 61.4}, {"uniform:20", 84.9}, {"uniform:10", 139.2}, {"</script><!--\xff", 20.5}};
  for (const auto& [policy, speed] : speeds) {
    rows.push_back({{"policy", policy}, {"speed", speed}});
    figure.table.rows.push_back({policy, fmt::format("{:.1f}", speed), "a, \"b\""});
  }
  Json x = {{"field", "policy"}, {"type", "nominal"}, {"sort", nullptr}, {"title", "policy"}};
  figure.spec = {{"data", {{"values", rows}}},
                 {"mark", "bar"},
                 {"encoding", {{"x", x}, {"y", quantitative("speed", "tokens a second")}}}};
  return figure;
}

fathom::Report example() {
  using fathom::Outcome;
  return {
      .title = "Skipping layers in SmolLM2-135M-Instruct",
      .summary =
          "Uniform skipping keeps more of the full model's hidden state than early exit at "
          "every cost below 24 of 30 layers. The numbers on this page are made up: it shows "
          "how a report looks.",
      .warnings = {"this run is not complete: 120 of 500 sequences were measured."},
      .facts = {{"model", "SmolLM2-135M-Instruct, Q4_1"},
                {"data", "our own texts, 120 of 500 sequences"},
                {"layers", "30"},
                {"routes", "full, first, uniform, random, block"},
                {"machine", "2 CPUs, AVX-512 VNNI"},
                {"time", "41 min"}},
      .verdicts =
          {{"Uniform skipping stays closer to the full model than early exit.",
            "[Glavas24 3.1, fig. 1a]", Outcome::holds,
            "Mean difference 0.21 (95% interval 0.18 to 0.24) over costs 1 to 29; paired "
            "permutation test, p < 0.001, n = 120."},
           {"Random skipping is as good as uniform skipping.", "[Glavas24 A.3.2]",
            Outcome::does_not_hold,
            "Uniform is closer by 0.08 (95% interval 0.06 to 0.10); p < 0.001, n = 120."},
           {"A controller that looks at the hidden state gains over a fixed route.",
            "[Glavas24 4.2]", Outcome::cannot_tell,
            "Difference 0.01 (95% interval -0.02 to 0.04): 500 sequences are needed to tell."}},
      .figures = {lines(), heatmap(), facets(), bars()},
      .choices = {"The paper does not say how ties of equal similarity are ranked; the lower cost "
                  "goes first.",
                  "Sequences are cut after 256 tokens."},
      .command =
          "fathom study layers --model SmolLM2-135M-Instruct.Q4_1.gguf --sequences 500 "
          "--depth full,first:1-30,uniform:1-30,random:1-30,block:1-30 --seed 1 --out report",
      .provenance = {
          {"fathom", "0.1.0"},
          {"seed", "1"},
          {"model's SHA-256", "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"}}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: example_report FILE.html\n", stderr);
    return 2;
  }
  std::ofstream file(argv[1], std::ios::binary);
  file << fathom::to_html(example());
  return file.flush() ? 0 : 1;
}
