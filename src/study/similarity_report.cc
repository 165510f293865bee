#include "study/similarity_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "depth/route.h"
#include "metrics/interval.h"
#include "metrics/mean_error.h"
#include "study/publish.h"
#include "study/similarity.h"
#include "study/verdict.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

/// A kind of route as figures and texts call it.
struct KindName {
  std::string_view kind, legend, text;
};
constexpr std::array kind_names{
    KindName{"first", "early exit (EE)", "early exit"},
    KindName{"random", "random (RLS)", "random skipping"},
    KindName{"random-free", "random, any layer (RLS wo/1)", "random skipping without layer 1"},
    KindName{"uniform", "uniform (ULS)", "uniform skipping"},
    KindName{"block", "block dropped", "dropping a block"},
};

const KindName& name_of(std::string_view kind) {
  return *std::find_if(kind_names.begin(), kind_names.end(),
                       [&](const KindName& each) { return each.kind == kind; });
}

using Measure = std::function<double(const SimilarityResult&)>;

/// What is reported of one kind of route at one cost.
struct Point {
  std::string kind;
  std::int32_t cost = 0;
  std::size_t n = 0;
  Interval final, intermediate, nll;
  double final_normed = 0;
  std::optional<Interval> nll_without_first;  // none if no response has a second token
  std::vector<double> by_layer;               // mean over samples
};

/// The complete rows of a run and what they say of each route.
class SimilarityRun {
 public:
  SimilarityRun(const RunFolder& folder, SimilarityOptions options)
      : options_(std::move(options)), depth_(folder.config().layers) {
    for (SimilarityRow& row : read_similarity(folder, options_)) {
      (row.left_out ? left_out_ : rows_).push_back(std::move(row));
    }
    if (rows_.empty()) {
      throw FileError(folder.path().string(), "",
                      left_out_.empty()
                          ? "no row is complete yet"
                          : fmt::format("no row could be measured; the first was left out since {}",
                                        left_out_.front().left_out.value()));
    }
    for (const std::string& kind : options_.kinds) {
      for (const std::int32_t cost : options_.costs) points_.push_back(point(kind, cost));
    }
  }

  [[nodiscard]] const SimilarityOptions& options() const { return options_; }
  [[nodiscard]] std::int32_t depth() const { return depth_; }
  [[nodiscard]] const std::vector<SimilarityRow>& rows() const { return rows_; }
  [[nodiscard]] const std::vector<SimilarityRow>& left_out() const { return left_out_; }
  [[nodiscard]] const std::vector<Point>& points() const { return points_; }
  [[nodiscard]] bool has(std::string_view kind) const {
    return std::find(options_.kinds.begin(), options_.kinds.end(), kind) != options_.kinds.end();
  }
  [[nodiscard]] bool has(std::int32_t cost) const {
    return std::find(options_.costs.begin(), options_.costs.end(), cost) != options_.costs.end();
  }
  [[nodiscard]] const SimilarityResult& result(const SimilarityRow& row, std::string_view kind,
                                               std::int32_t cost) const {
    return row.routes.at(fmt::format("{}:{}", kind, cost));
  }

  /// How far `a` is above `b` in a measure, for each row.
  [[nodiscard]] PairedComparison compare(std::string_view a, std::string_view b, std::int32_t cost,
                                         std::string_view of, const Measure& measure) const {
    PairedComparison comparison{
        .name = fmt::format("{}, {} against {}", of, name_of(a).text, name_of(b).text),
        .cost = cost,
        .differences = {}};
    for (const SimilarityRow& row : rows_) {
      comparison.differences.push_back(measure(result(row, a, cost)) -
                                       measure(result(row, b, cost)));
    }
    return comparison;
  }

 private:
  [[nodiscard]] std::vector<double> values(std::string_view kind, std::int32_t cost,
                                           const Measure& measure) const {
    std::vector<double> values;
    for (const SimilarityRow& row : rows_) values.push_back(measure(result(row, kind, cost)));
    return values;
  }

  [[nodiscard]] Point point(const std::string& kind, std::int32_t cost) const {
    const auto interval = [&](const Measure& measure) {
      return t_interval(values(kind, cost, measure));
    };
    Point point{.kind = kind, .cost = cost, .n = rows_.size()};
    point.final = interval([](const SimilarityResult& r) { return r.final; });
    point.intermediate = interval([](const SimilarityResult& r) { return r.intermediate; });
    point.nll = interval([](const SimilarityResult& r) { return r.nll; });
    point.final_normed =
        interval([](const SimilarityResult& r) { return r.final_normed; }).estimate;
    std::vector<double> later;
    point.by_layer.assign(static_cast<std::size_t>(depth_), 0.0);
    for (const SimilarityRow& row : rows_) {
      const SimilarityResult& of_row = result(row, kind, cost);
      if (of_row.nll_without_first) later.push_back(*of_row.nll_without_first);
      for (std::size_t l = 0; l < point.by_layer.size() && l < of_row.by_layer.size(); ++l) {
        point.by_layer[l] += of_row.by_layer[l] / static_cast<double>(rows_.size());
      }
    }
    if (!later.empty()) point.nll_without_first = t_interval(later);
    return point;
  }

  SimilarityOptions options_;
  std::int32_t depth_;
  std::vector<SimilarityRow> rows_, left_out_;
  std::vector<Point> points_;
};

// --- tables

// Empty where there is no number: one sample has no interval.
std::string cell(double value, int digits = 6) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "";
}

Table similarity_table(const SimilarityRun& run) {
  Table table{{"route", "cost", "n", "final_mean", "final_low", "final_high", "final_normed_mean",
               "intermediate_mean", "intermediate_low", "intermediate_high", "nll_mean", "nll_low",
               "nll_high"},
              {}};
  for (const Point& point : run.points()) {
    table.rows.push_back({point.kind, fmt::format("{}", point.cost), fmt::format("{}", point.n),
                          cell(point.final.estimate), cell(point.final.low), cell(point.final.high),
                          cell(point.final_normed), cell(point.intermediate.estimate),
                          cell(point.intermediate.low), cell(point.intermediate.high),
                          cell(point.nll.estimate), cell(point.nll.low), cell(point.nll.high)});
  }
  return table;
}

Table samples_table(const SimilarityRun& run) {
  Table table{{"sample", "id", "response_tokens", "route", "cost", "layers", "final",
               "final_normed", "intermediate", "nll", "nll_without_first"},
              {}};
  for (const SimilarityRow& row : run.rows()) {
    for (const std::string& kind : run.options().kinds) {
      for (const std::int32_t cost : run.options().costs) {
        const SimilarityResult& result = run.result(row, kind, cost);
        table.rows.push_back({fmt::format("{}", row.sample), row.id,
                              fmt::format("{}", row.response_tokens), kind, fmt::format("{}", cost),
                              result.layers, cell(result.final), cell(result.final_normed),
                              cell(result.intermediate), cell(result.nll),
                              result.nll_without_first ? cell(*result.nll_without_first) : ""});
      }
    }
  }
  return table;
}

// --- figures

struct Panel {
  std::string title, axis;
  std::string field;  // its mean, low and high are FIELD_mean, FIELD_low, FIELD_high
};
const Panel final_panel{"Final hidden state", "cosine", "final"};
const Panel intermediate_panel{"Intermediate hidden states", "cosine", "intermediate"};
const Panel nll_panel{"", "nats a token", "nll"};

Json curve_values(const SimilarityRun& run, const std::vector<std::string_view>& kinds) {
  const auto number = [](double value) {
    return std::isfinite(value) ? Json(std::round(value * 1e6) / 1e6) : Json(nullptr);
  };
  Json values = Json::array();
  for (const Point& point : run.points()) {
    if (std::find(kinds.begin(), kinds.end(), point.kind) == kinds.end()) continue;
    Json value{{"route", name_of(point.kind).legend}, {"cost", point.cost}, {"n", point.n}};
    for (const auto& [field, interval] :
         {std::pair{"final", point.final}, std::pair{"intermediate", point.intermediate},
          std::pair{"nll", point.nll}}) {
      value[fmt::format("{}_mean", field)] = number(interval.estimate);
      value[fmt::format("{}_low", field)] = number(interval.low);
      value[fmt::format("{}_high", field)] = number(interval.high);
    }
    values.push_back(std::move(value));
  }
  return values;
}

// Curves with their 95% intervals as bands.
Json curve_view(const Panel& panel, const std::vector<std::string_view>& kinds) {
  Json names = Json::array();
  for (const std::string_view kind : kinds) names.push_back(name_of(kind).legend);
  const auto y = [&](const std::string& suffix) {
    return Json{{"field", panel.field + suffix},
                {"type", "quantitative"},
                {"title", panel.axis},
                {"scale", {{"zero", false}}}};
  };
  const Json route{{"field", "route"}, {"type", "nominal"}, {"title", nullptr}, {"sort", names}};
  Json color = route;
  color["legend"] = {{"symbolType", "stroke"}, {"symbolSize", 300}};  // a piece of the line
  const auto shown = [&](const std::string& suffix, std::string_view title) {
    return Json{{"field", panel.field + suffix},
                {"type", "quantitative"},
                {"title", title},
                {"format", ".4f"}};
  };
  const Json tooltip = Json::array({{{"field", "route"}, {"title", "route"}},
                                    {{"field", "cost"}, {"title", "layers run"}},
                                    shown("_mean", "mean"),
                                    shown("_low", "95% from"),
                                    shown("_high", "95% to"),
                                    {{"field", "n"}, {"title", "samples"}}});
  Json view;
  if (!panel.title.empty()) view["title"] = panel.title;
  view["encoding"] = {{"x", {{"field", "cost"}, {"type", "quantitative"}, {"title", "layers run"}}},
                      {"color", color}};
  view["layer"] =
      Json::array({{{"mark", {{"type", "area"}, {"opacity", 0.18}}},
                    {"encoding", {{"y", y("_low")}, {"y2", {{"field", panel.field + "_high"}}}}}},
                   {{"mark", "line"}, {"encoding", {{"y", y("_mean")}, {"strokeDash", route}}}},
                   {{"mark", {{"type", "point"}, {"size", 30}}},
                    {"encoding", {{"y", y("_mean")}, {"tooltip", tooltip}}}}});
  return view;
}

Json new_spec(std::string_view description) {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", description}};
}

Table curve_table(const SimilarityRun& run, const std::vector<std::string_view>& kinds,
                  const std::vector<Panel>& panels) {
  Table table{{"route", "cost", "n"}, {}};
  for (const Panel& panel : panels) {
    for (const auto* const end : {"mean", "low", "high"}) {
      table.columns.push_back(fmt::format("{}_{}", panel.field, end));
    }
  }
  for (const Point& point : run.points()) {
    if (std::find(kinds.begin(), kinds.end(), point.kind) == kinds.end()) continue;
    std::vector<std::string> row{point.kind, fmt::format("{}", point.cost),
                                 fmt::format("{}", point.n)};
    for (const Panel& panel : panels) {
      const Interval& interval = panel.field == "final"          ? point.final
                                 : panel.field == "intermediate" ? point.intermediate
                                                                 : point.nll;
      for (const double end : {interval.estimate, interval.low, interval.high}) {
        row.push_back(cell(end, 4));
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

// A figure of curves against cost, of those of `wanted` that were measured.
Figure curves(const SimilarityRun& run, std::string id, std::string title, std::string caption,
              const std::vector<std::string_view>& wanted, const std::vector<Panel>& panels) {
  std::vector<std::string_view> kinds;
  std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(kinds),
               [&](std::string_view kind) { return run.has(kind); });
  Figure figure{.id = std::move(id),
                .title = std::move(title),
                .caption = std::move(caption),
                .table = curve_table(run, kinds, panels)};
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", curve_values(run, kinds)}};
  if (panels.size() == 1) {
    figure.spec.update(curve_view(panels[0], kinds));
  } else {
    Json views = Json::array();
    for (const Panel& panel : panels) views.push_back(curve_view(panel, kinds));
    figure.spec["concat"] = std::move(views);
  }
  return figure;
}

// A grid of costs from left to right and layers from bottom to top.
Json grid_encoding(std::int32_t depth, Json color) {
  Json labelled = Json::array({1});
  for (std::int32_t layer = 5; layer <= depth; layer += 5) labelled.push_back(layer);
  const Json axis{{"values", labelled}, {"labelAngle", 0}};
  return {{"x", {{"field", "cost"}, {"type", "ordinal"}, {"title", "layers run"}, {"axis", axis}}},
          {"y",
           {{"field", "layer"},
            {"type", "ordinal"},
            {"sort", "descending"},
            {"title", "layer"},
            {"axis", axis}}},
          {"color", std::move(color)}};
}

// Figure 3: which layers uniform skipping runs at each cost.
Figure uniform_grid(const SimilarityRun& run) {
  Figure figure{
      .id = "fig3",
      .title = "Figure 3: the layers that uniform skipping runs",
      .caption =
          "Equation 2 for every cost: each column is a cost, each row a layer, a filled cell "
          "a layer that runs. Layer 2 never runs below full depth; layer 1 always does.",
      .panel_aspect = 1,
      .table = {{"cost", "layers"}, {}}};
  Json values = Json::array();
  for (std::int32_t cost = 1; cost <= run.depth(); ++cost) {
    const Route route = Route::uniform(cost, run.depth());
    figure.table.rows.push_back({fmt::format("{}", cost), route.to_string()});
    for (LayerIndex layer{0}; layer.value < run.depth(); ++layer) {
      values.push_back({{"cost", cost},
                        {"layer", layer.number()},
                        {"state", route.runs(layer) ? "runs" : "skipped"}});
    }
  }
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  figure.spec["mark"] = "rect";
  figure.spec["encoding"] = grid_encoding(
      run.depth(),
      {{"field", "state"},
       {"type", "nominal"},
       {"title", nullptr},
       {"scale", {{"domain", {"runs", "skipped"}}, {"range", {"#3b6fb6", "#88888826"}}}}});
  return figure;
}

// Where along the layers the states part from the full model's.
Figure by_layer(const SimilarityRun& run) {
  Figure figure{
      .id = "layers",
      .title = "Similarity layer by layer",
      .caption =
          "Each cell is the mean cosine of one layer's output with the full model's, at one "
          "cost. A skipped layer hands its input on, so what goes wrong at one layer is "
          "wrong in those above it, too.",
      .panel_aspect = 1,
      .table = {{"route", "cost", "layer", "similarity"}, {}}};
  Json names = Json::array();
  for (const std::string& kind : run.options().kinds) names.push_back(name_of(kind).legend);
  Json values = Json::array();
  for (const Point& point : run.points()) {
    for (std::size_t l = 0; l < point.by_layer.size(); ++l) {
      values.push_back({{"route", name_of(point.kind).legend},
                        {"cost", point.cost},
                        {"layer", l + 1},
                        {"similarity", std::round(point.by_layer[l] * 1e4) / 1e4}});
      figure.table.rows.push_back({point.kind, fmt::format("{}", point.cost),
                                   fmt::format("{}", l + 1), cell(point.by_layer[l], 4)});
    }
  }
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  figure.spec["mark"] = "rect";
  figure.spec["encoding"] =
      grid_encoding(run.depth(), {{"field", "similarity"},
                                  {"type", "quantitative"},
                                  {"title", "cosine"},
                                  {"scale", {{"domain", {0, 1}}, {"clamp", true}}}});
  figure.spec["encoding"]["facet"] = {
      {"field", "route"}, {"type", "nominal"}, {"title", nullptr}, {"sort", names}};
  return figure;
}

std::vector<Figure> figures_of(const SimilarityRun& run, bool articles) {
  std::vector<Figure> figures;
  figures.push_back(curves(
      run, articles ? "fig5" : "fig1a",
      articles ? "Figure 5: similarity against cost, on articles"
               : "Figure 1a: similarity against cost",
      "Mean cosine similarity of hidden states with the full model's; bands are 95% intervals over "
      "samples. Higher is better: the final state predicts the next token, the intermediate states "
      "fill the KV cache.",
      {"first", "random", "uniform"}, {final_panel, intermediate_panel}));
  figures.push_back(uniform_grid(run));
  if (run.has("random-free")) {
    figures.push_back(curves(
        run, "fig4", "Figure 4: random skipping with and without the rule that layer 1 runs",
        "Figure 1a's curves and random skipping where layer 1 may be skipped like any other.",
        {"first", "random", "random-free", "uniform"}, {final_panel, intermediate_panel}));
  }
  if (run.has("block")) {
    figures.push_back(curves(
        run, "block", "Uniform skipping and dropping a block",
        "The consecutive block is taken from the middle, so that both ends of the network stay.",
        {"first", "uniform", "block"}, {final_panel, intermediate_panel}));
  }
  figures.push_back(curves(run, "nll", "How likely the response stays",
                           "Mean negative log-likelihood of the response's tokens, each sample "
                           "weighing the same. Lower is better; at full cost all routes are the "
                           "full model.",
                           {"first", "random", "random-free", "uniform", "block"}, {nll_panel}));
  figures.push_back(by_layer(run));
  return figures;
}

// --- verdicts

double final_of(const SimilarityResult& result) { return result.final; }
double intermediate_of(const SimilarityResult& result) { return result.intermediate; }
double likelihood_of(const SimilarityResult& result) { return -result.nll; }

/// One side of a claim: a measure of one kind of route set against another's.
struct Contrast {
  std::string_view above, below;
  std::string_view of;
  double (*measure)(const SimilarityResult&);
};

std::vector<PairedComparison> comparisons(const SimilarityRun& run,
                                          const std::vector<std::int32_t>& costs,
                                          const std::vector<Contrast>& contrasts) {
  std::vector<PairedComparison> result;
  for (const Contrast& contrast : contrasts) {
    if (!run.has(contrast.above) || !run.has(contrast.below)) return {};
    for (const std::int32_t cost : costs) {
      result.push_back(
          run.compare(contrast.above, contrast.below, cost, contrast.of, contrast.measure));
    }
  }
  return result;
}

std::vector<Verdict> verdicts_of(const SimilarityRun& run, bool articles) {
  // What "far ahead" and "matches" mean in cosine similarity. [ours]
  constexpr double far = 0.1;
  constexpr double alike = 0.02;
  // Where all routes are the same nothing is compared.
  std::vector<std::int32_t> inner;
  std::copy_if(run.options().costs.begin(), run.options().costs.end(), std::back_inserter(inner),
               [&](std::int32_t cost) { return cost > 1 && cost < run.depth(); });
  const auto part = [&](int numerator, int denominator) {
    return static_cast<std::int32_t>(
        std::lround(static_cast<double>(run.depth()) * numerator / denominator));
  };
  const std::int32_t half = part(12, 24);
  const std::int32_t two_thirds = part(16, 24);
  std::vector<std::int32_t> middle;
  for (const std::int32_t cost : {half, two_thirds}) {
    if (run.has(cost) && cost > 1 && cost < run.depth()) middle.push_back(cost);
  }
  std::vector<std::int32_t> at_half(
      middle.begin(),
      std::find_if(middle.begin(), middle.end(), [&](std::int32_t cost) { return cost > half; }));
  const std::string figure = articles ? "fig. 5" : "fig. 1a";
  const std::string section = articles ? "A.3.3" : "3.1";
  const std::string source = fmt::format("[Glavas24 {}, {}]", section, figure);

  std::vector<Verdict> verdicts;
  verdicts.push_back(judge_above(
      "Uniform skipping keeps the final hidden state closest to the full model's.", source,
      comparisons(run, inner,
                  {{"uniform", "first", "final similarity", final_of},
                   {"uniform", "random", "final similarity", final_of}}),
      0));
  verdicts.push_back(judge_above("Early exit keeps the final hidden state least.", source,
                                 comparisons(run, inner,
                                             {{"random", "first", "final similarity", final_of},
                                              {"uniform", "first", "final similarity", final_of}}),
                                 0));
  verdicts.push_back(
      judge_above("Early exit keeps the intermediate hidden states closest.", source,
                  comparisons(run, inner,
                              {{"first", "random", "intermediate similarity", intermediate_of},
                               {"first", "uniform", "intermediate similarity", intermediate_of}}),
                  0));
  const std::vector<Contrast> uniform_intermediate{
      {"uniform", "first", "intermediate similarity", intermediate_of}};
  if (articles) {
    verdicts.push_back(judge_above(
        fmt::format("At cost {} (half of the layers) early exit is ahead on intermediate states.",
                    half),
        source,
        comparisons(run, at_half,
                    {{"first", "uniform", "intermediate similarity", intermediate_of}}),
        0));
  } else {
    verdicts.push_back(judge_alike(
        fmt::format("At costs {} and {} (12 and 16 of the paper's 24) uniform skipping matches "
                    "early exit on intermediate states.",
                    half, two_thirds),
        source, comparisons(run, middle, uniform_intermediate), alike));
  }
  verdicts.push_back(judge_above(
      fmt::format("At costs {} and {} uniform skipping is far ahead of early exit on the final "
                  "state.",
                  half, two_thirds),
      source, comparisons(run, middle, {{"uniform", "first", "final similarity", final_of}}), far));
  verdicts.push_back(judge_above(
      "Random skipping does worse if layer 1 may be skipped.", "[Glavas24 A.3.2, fig. 4]",
      comparisons(run, inner,
                  {{"random", "random-free", "final similarity", final_of},
                   {"random", "random-free", "intermediate similarity", intermediate_of}}),
      0));
  verdicts.push_back(judge_above(
      "Uniform skipping does better than dropping a consecutive block.", "[Glavas24 A.1.1]",
      comparisons(run, inner,
                  {{"uniform", "block", "final similarity", final_of},
                   {"uniform", "block", "log-likelihood of the response", likelihood_of}}),
      0));
  return verdicts;
}

// --- the page

double mean_response_tokens(const SimilarityRun& run) {
  const auto tokens = [](std::size_t sum, const SimilarityRow& row) {
    return sum + row.response_tokens;
  };
  return static_cast<double>(
             std::accumulate(run.rows().begin(), run.rows().end(), std::size_t{0}, tokens)) /
         static_cast<double>(run.rows().size());
}

std::string summary_of(const std::vector<Verdict>& verdicts) {
  const auto count = [&](Outcome outcome) {
    return std::count_if(verdicts.begin(), verdicts.end(),
                         [&](const Verdict& verdict) { return verdict.outcome == outcome; });
  };
  return fmt::format(
      "A layer that is skipped changes every state after it. This study measures how much, for "
      "each "
      "way of choosing the layers and each number of them. Of {} claims of the paper, {} hold for "
      "this model and data, {} do not, and {} cannot be told from this many samples.",
      verdicts.size(), count(Outcome::holds), count(Outcome::does_not_hold),
      count(Outcome::cannot_tell));
}

std::vector<std::string> choices_of(const SimilarityOptions& options) {
  std::vector<std::string> choices;
  const auto add = [&](std::string_view choice) { choices.emplace_back(choice); };
  add("The prompt runs all layers; cost counts layers of response tokens only [paper].");
  add("Hidden states are compared as each layer leaves them, before any final norm; the column "
      "final_normed_mean compares the last one after it, as the paper's program does [ours].");
  add("The state of a skipped layer is its input, carried down [ours].");
  add("Positions are those where the response's tokens y_1..y_T are the inputs; the "
      "paper's program also counts the prompt's last position, which is always 1 [ours].");
  add("Means are over a sample's positions first, then over samples; intervals are Student's t "
      "over samples [ours].");
  add("NLL is over all response tokens, of which y_1 costs no routed pass; samples.csv also has it "
      "over y_2..y_T.");
  add("Verdicts leave out costs 1 and all, where routes coincide. \"Matches\" means within 0.02 of "
      "cosine similarity, \"far ahead\" more than 0.1 above [ours].");
  add("The model is used as it is, not fine-tuned on the data [ours; the paper fine-tunes it].");
  const auto has = [&](std::string_view kind) {
    return std::find(options.kinds.begin(), options.kinds.end(), kind) != options.kinds.end();
  };
  if (has("random") || has("random-free")) {
    add("Random routes are drawn anew for every sequence, keyed by the seed and its id [ours; the "
        "paper draws for every batch].");
  }
  if (has("block")) {
    add("The dropped block leaves the first ceil(c/2) and the last floor(c/2) layers [ours].");
  }
  return choices;
}

}  // namespace

Report report_similarity(const RunFolder& folder) {
  const RunConfig& config = folder.config();
  const SimilarityRun run(folder, similarity_options_from_json(
                                      config.options, (folder.path() / "run.sqlite").string()));
  // The paper's figure 5 is its figure 1a on such data.
  const bool articles = config.data_kind == name(ExampleKind::article);

  Report report = begin_report(folder);
  report.title = fmt::format("Similarity of hidden states: {}", config.model_name);
  const std::size_t seen = run.rows().size() + run.left_out().size();
  if (seen < config.rows) {
    report.warnings.push_back(
        fmt::format("Not complete: {} of {} rows are measured. The command "
                    "below goes on from there.",
                    seen, config.rows));
  }
  if (!run.left_out().empty()) {
    report.warnings.push_back(fmt::format("{} of {} rows were left out; the first, '{}', since {}.",
                                          run.left_out().size(), seen, run.left_out().front().id,
                                          run.left_out().front().left_out.value()));
  }
  report.verdicts = verdicts_of(run, articles);
  report.summary = summary_of(report.verdicts);
  report.facts = {
      {"model", fmt::format("{}, {} layers", config.model_name, run.depth())},
      {"data", std::filesystem::path(config.data_path).filename().string()},
      {"samples", fmt::format("{}", run.rows().size())},
      {"responses", fmt::format("{}, {:.1f} tokens on average",
                                run.options().on == ResponseSource::labels
                                    ? "the data's labels"
                                    : "generated by the full model, greedy",
                                mean_response_tokens(run))},
      {"routes", fmt::format("{}", fmt::join(run.options().kinds, ", "))},
      {"costs", ranges(run.options().costs)},
  };
  report.figures = figures_of(run, articles);
  report.choices = choices_of(run.options());
  folder.write("similarity.csv", to_csv(similarity_table(run)));
  folder.write("samples.csv", to_csv(samples_table(run)));
  publish(report, folder);
  return report;
}

}  // namespace fathom
