#include "study/layers_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "metrics/interval.h"
#include "metrics/mean_error.h"
#include "model/ranking_file.h"
#include "study/layers.h"
#include "study/publish.h"
#include "study/verdict.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

/// A method as figures and texts call it.
struct MethodName {
  std::string_view method, legend, text;
};
constexpr std::array method_names{
    MethodName{"beam", "beam search", "beam search"},
    MethodName{"elimination", "backward elimination", "backward elimination"},
    MethodName{"influence", "by block influence", "dropping the layers of least block influence"},
    MethodName{"block", "best block dropped", "dropping the best consecutive block"},
    MethodName{"uniform", "uniform", "uniform skipping"},
    MethodName{"first", "early exit", "early exit"},
    MethodName{"random", "random routes", "the best of the random routes"},
};

// The first of them, which look at the model.
constexpr std::ptrdiff_t chosen_methods = 4;
constexpr std::string_view random_legend = "random routes";

const MethodName& name_of(std::string_view method) {
  return *std::find_if(method_names.begin(), method_names.end(),
                       [&](const MethodName& each) { return each.method == method; });
}

/// What is reported of one route, on the held-out rows.
struct Point {
  NamedRoute named;
  std::vector<double> nlls;  // of each row
  Interval nll, excess;      // excess: above the full model's
  Interval divergence, similarity;
};

/// A complete run and what it says of each route.
class Layers {
 public:
  Layers(const RunFolder& folder, const LayersOptions& options)
      : options_(options),
        depth_(folder.config().layers),
        run_(read_layers(folder, options)),
        full_(values(Route::full(depth_), [](const RouteEffect& e) { return e.nll; })) {
    for (const NamedRoute& each : run_.routes) points_.push_back(point(each));
    choose();
  }

  [[nodiscard]] const LayersOptions& options() const { return options_; }
  [[nodiscard]] std::int32_t depth() const { return depth_; }
  [[nodiscard]] const LayersRun& run() const { return run_; }
  [[nodiscard]] const std::vector<Point>& points() const { return points_; }
  [[nodiscard]] const Point& full() const { return points_.front(); }
  /// The points of a method, in the order of costs, or of layers for "leave-one-out".
  [[nodiscard]] std::vector<const Point*> of(std::string_view method) const {
    std::vector<const Point*> result;
    for (const Point& each : points_) {
      if (each.named.method == method) result.push_back(&each);
    }
    return result;
  }
  /// A method's route at a cost; nullptr if it has none. Of random routes the best.
  [[nodiscard]] const Point* at(std::string_view method, std::int32_t cost) const {
    const Point* best = nullptr;
    for (const Point* const each : of(method)) {
      if (each->named.route.cost() != cost) continue;
      if (best == nullptr || each->nll.estimate < best->nll.estimate) best = each;
    }
    return best;
  }
  /// For each cost from 1 to depth - 1 the route that the searched half likes best.
  [[nodiscard]] const std::vector<const Point*>& ranked() const { return ranked_; }

  [[nodiscard]] Interval interval(const std::vector<double>& values) const {
    return bootstrap_interval(values, mean_of, {.seed = options_.seed});
  }
  /// Block influence of a layer on the held-out rows.
  [[nodiscard]] Interval influence(std::size_t layer) const {
    std::vector<double> values;
    for (const LayersRow& row : run_.held_out) values.push_back(row.influence[layer]);
    return interval(values);
  }

 private:
  [[nodiscard]] std::vector<double> values(
      const Route& route, const std::function<double(const RouteEffect&)>& measure) const {
    std::vector<double> values;
    const std::string name = route.to_string();
    for (const LayersRow& row : run_.held_out) values.push_back(measure(row.effects.at(name)));
    return values;
  }

  [[nodiscard]] Point point(const NamedRoute& named) const {
    Point point{.named = named,
                .nlls = values(named.route, [](const RouteEffect& e) { return e.nll; })};
    std::vector<double> above;
    for (std::size_t i = 0; i < full_.size(); ++i) above.push_back(point.nlls[i] - full_[i]);
    point.nll = interval(point.nlls);
    point.excess = interval(above);
    point.divergence =
        interval(values(named.route, [](const RouteEffect& e) { return e.divergence; }));
    point.similarity =
        interval(values(named.route, [](const RouteEffect& e) { return e.similarity; }));
    return point;
  }

  void choose() {
    for (std::int32_t cost = 1; cost < depth_; ++cost) {
      const Point* const greedy = at("elimination", cost);
      const Point* const beam = at("beam", cost);
      ranked_.push_back(beam->named.search_nll.value() < greedy->named.search_nll.value() ? beam
                                                                                          : greedy);
    }
  }

  LayersOptions options_;
  std::int32_t depth_;
  LayersRun run_;
  std::vector<double> full_;
  std::vector<Point> points_;
  std::vector<const Point*> ranked_;
};

// --- tables

// Empty where there is no number: one row has no interval.
std::string cell(double value, int digits = 6) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "";
}

void add_interval(std::vector<std::string>& row, const Interval& interval, int digits = 6) {
  for (const double end : {interval.estimate, interval.low, interval.high}) {
    row.push_back(cell(end, digits));
  }
}

void add_columns(Table& table, std::string_view measure) {
  for (const auto* const end : {"mean", "low", "high"}) {
    table.columns.push_back(fmt::format("{}_{}", measure, end));
  }
}

Table routes_table(const Layers& layers) {
  Table table{{"method", "cost", "layers", "search_nll", "n"}, {}};
  for (const auto* const measure : {"nll", "excess", "divergence", "similarity"}) {
    add_columns(table, measure);
  }
  for (const Point& point : layers.points()) {
    std::vector<std::string> row{point.named.method, fmt::format("{}", point.named.route.cost()),
                                 point.named.route.to_string(),
                                 point.named.search_nll ? cell(*point.named.search_nll) : "",
                                 fmt::format("{}", point.nlls.size())};
    for (const Interval& interval : {point.nll, point.excess, point.divergence, point.similarity}) {
      add_interval(row, interval);
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table samples_table(const Layers& layers) {
  Table table{
      {"sample", "id", "response_tokens", "cost", "layers", "nll", "divergence", "similarity"}, {}};
  for (const LayersRow& row : layers.run().held_out) {
    std::set<std::string> seen;
    for (const NamedRoute& each : layers.run().routes) {
      const std::string name = each.route.to_string();
      if (!seen.insert(name).second) continue;
      const RouteEffect& effect = row.effects.at(name);
      table.rows.push_back({fmt::format("{}", row.sample), row.id,
                            fmt::format("{}", row.response_tokens),
                            fmt::format("{}", each.route.cost()), name, cell(effect.nll),
                            cell(effect.divergence), cell(effect.similarity)});
    }
  }
  return table;
}

// --- figures

Json number(double value) {
  return std::isfinite(value) ? Json(std::round(value * 1e6) / 1e6) : Json(nullptr);
}

Json new_spec(std::string_view description) {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", description}};
}

Json field(std::string_view name, std::string_view type, const Json& title) {
  return {{"field", name}, {"type", type}, {"title", title}};
}

Json tooltip_of(std::string_view name, std::string_view title) {
  Json json = field(name, "quantitative", title);
  json["format"] = ".4f";
  return json;
}

// What is lost without each layer alone.
Figure leave_one_out(const Layers& layers) {
  struct Measure {
    std::string_view name, title, axis;
    std::array<double, 5> ticks;  // on a scale that is logarithmic from the second on
  };
  constexpr std::array measures{
      Measure{"excess", "NLL above the full model's", "nats a token", {0, 0.1, 0.4, 1.5, 6}},
      Measure{
          "divergence", "KL divergence from the full model", "nats a token", {0, 0.1, 0.4, 1.5, 6}},
      Measure{"distance",
              "Final state: 1 - cosine with the full model's",
              "1 - cosine",
              {0, 0.03, 0.1, 0.3, 1}},
      Measure{"influence",
              "Block influence: 1 - cosine of input and output",
              "1 - cosine",
              {0, 0.03, 0.1, 0.3, 1}},
  };
  Figure figure{
      .id = "leave-one-out",
      .title = "What each layer is worth",
      .caption =
          "The model without one layer at a time, on the held-out half: how much less "
          "likely the answers, how far the predictions and the final state from the full "
          "model's. Beside, the block influence, which looks at the layer alone. Bars are "
          "95% bootstrap intervals.",
      .table = {{"layer"}, {}}};
  for (const Measure& measure : measures) add_columns(figure.table, measure.name);
  Json values = Json::array();
  const std::vector<const Point*> points = layers.of("leave-one-out");
  for (std::size_t l = 0; l < points.size(); ++l) {
    const Interval& similarity = points[l]->similarity;
    const Interval distance{.estimate = 1 - similarity.estimate,
                            .low = 1 - similarity.high,
                            .high = 1 - similarity.low};
    Json value{{"layer", l + 1}};
    std::vector<std::string> row{fmt::format("{}", l + 1)};
    const std::array intervals{points[l]->excess, points[l]->divergence, distance,
                               layers.influence(l)};
    for (std::size_t m = 0; m < measures.size(); ++m) {
      value[fmt::format("{}_mean", measures[m].name)] = number(intervals[m].estimate);
      value[fmt::format("{}_low", measures[m].name)] = number(intervals[m].low);
      value[fmt::format("{}_high", measures[m].name)] = number(intervals[m].high);
      add_interval(row, intervals[m]);
    }
    values.push_back(std::move(value));
    figure.table.rows.push_back(std::move(row));
  }
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  Json views = Json::array();
  for (const Measure& measure : measures) {
    const auto end = [&](std::string_view which) {
      return fmt::format("{}_{}", measure.name, which);
    };
    Json y = field(end("mean"), "quantitative", measure.axis);
    // A few layers are worth a hundred times as much as most.
    y["scale"] = {{"type", "symlog"}, {"constant", measure.ticks[1]}, {"nice", false}};
    y["axis"] = {{"values", measure.ticks}, {"format", "~g"}};
    Json low = y;
    low["field"] = end("low");
    const Json tooltip =
        Json::array({field("layer", "quantitative", "layer"), tooltip_of(end("mean"), "mean"),
                     tooltip_of(end("low"), "95% from"), tooltip_of(end("high"), "95% to")});
    views.push_back(
        {{"title", measure.title},
         {"encoding", {{"x", field("layer", "quantitative", "layer left out")}}},
         {"layer", Json::array({{{"mark", "rule"},
                                 {"encoding", {{"y", low}, {"y2", {{"field", end("high")}}}}}},
                                {{"mark", {{"type", "point"}, {"filled", true}}},
                                 {"encoding", {{"y", y}, {"tooltip", tooltip}}}}})}});
  }
  figure.spec["concat"] = std::move(views);
  return figure;
}

/// A panel of curves: those of some methods, where at least `from` layers run.
struct CurvePanel {
  std::string title;
  std::int32_t from = 1;
  std::vector<std::string_view> legends;  // of the methods
};

// `names` are all methods of the figure, so that a method has one colour in all panels.
Json curve_view(const CurvePanel& panel, const Json& names) {
  const auto y = [](std::string_view end) {
    Json json = field(fmt::format("nll_{}", end), "quantitative", "nats a token");
    json["scale"] = {{"zero", false}};
    return json;
  };
  Json x = field("cost", "quantitative", "layers run");
  x["scale"] = {{"zero", false}};
  Json route = field("method", "nominal", nullptr);
  route["scale"] = {{"domain", names}};
  Json color = route;
  color["legend"] = {{"symbolType", "stroke"}, {"symbolSize", 300}};  // a piece of the line
  const Json tooltip =
      Json::array({field("method", "nominal", "route"), field("cost", "quantitative", "layers run"),
                   tooltip_of("nll_mean", "mean"), tooltip_of("nll_low", "95% from"),
                   tooltip_of("nll_high", "95% to"), field("layers", "nominal", "layers")});
  const auto only = [](std::vector<std::string_view> legends) {
    return Json::array({{{"filter", {{"field", "method"}, {"oneOf", std::move(legends)}}}}});
  };
  std::vector<std::string_view> curves = panel.legends;
  const bool random = std::erase(curves, random_legend) > 0;
  Json layers = Json::array();
  if (random) {
    layers.push_back({{"transform", only({random_legend})},
                      {"mark",
                       {{"type", "tick"},
                        {"thickness", 1},
                        {"opacity", 0.6},
                        {"orient", "horizontal"},
                        {"color", "#888888"}}},
                      {"encoding", {{"y", y("mean")}, {"tooltip", tooltip}}}});
  }
  layers.push_back(
      {{"transform", only(curves)},
       {"mark", {{"type", "area"}, {"opacity", 0.12}}},
       {"encoding", {{"y", y("low")}, {"y2", {{"field", "nll_high"}}}, {"color", color}}}});
  layers.push_back({{"transform", only(curves)},
                    {"mark", "line"},
                    {"encoding", {{"y", y("mean")}, {"color", color}, {"strokeDash", route}}}});
  layers.push_back({{"transform", only(curves)},
                    {"mark", {{"type", "point"}, {"size", 30}}},
                    {"encoding", {{"y", y("mean")}, {"color", color}, {"tooltip", tooltip}}}});
  return {{"title", panel.title},
          {"transform", Json::array({{{"filter", fmt::format("datum.cost >= {}", panel.from)}}})},
          {"encoding", {{"x", std::move(x)}}},
          {"layer", std::move(layers)}};
}

Figure nll_figure(const Layers& layers) {
  Figure figure{
      .id = "nll",
      .title = "How likely the answers stay",
      .caption =
          "Mean negative log-likelihood of the held-out answers' tokens against the number "
          "of layers run, each row weighing the same; bands are 95% bootstrap intervals. "
          "Lower is better. Searches and blocks were chosen on the other half. Grey ticks are "
          "random routes.",
      .table = {{"method", "cost", "layers"}, {}}};
  add_columns(figure.table, "nll");
  Json values = Json::array();
  Json names = Json::array();
  const auto add = [&](const MethodName& method, const Point& point) {
    values.push_back({{"method", method.legend},
                      {"cost", point.named.route.cost()},
                      {"layers", point.named.route.to_string()},
                      {"nll_mean", number(point.nll.estimate)},
                      {"nll_low", number(point.nll.low)},
                      {"nll_high", number(point.nll.high)}});
    std::vector<std::string> row{std::string(method.method),
                                 fmt::format("{}", point.named.route.cost()),
                                 point.named.route.to_string()};
    add_interval(row, point.nll, 4);
    figure.table.rows.push_back(std::move(row));
  };
  for (const MethodName& method : method_names) {
    const std::vector<const Point*> points = layers.of(method.method);
    if (points.empty()) continue;
    if (method.legend != random_legend) names.push_back(method.legend);
    for (const Point* const point : points) add(method, *point);
    // All curves end at the full model.
    if (method.method != "random") add(method, layers.full());
  }
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  std::vector<std::string_view> all;
  for (const MethodName& method : method_names) all.push_back(method.legend);
  const std::int32_t third = std::max(1, layers.depth() / 3);
  figure.spec["concat"] = Json::array(
      {curve_view({.title = "All", .legends = all}, names),
       curve_view({.title = fmt::format("What was chosen by measuring, from {} layers on", third),
                   .from = third,
                   .legends = std::vector(all.begin(), all.begin() + chosen_methods)},
                  names)});
  return figure;
}

Figure kept_figure(const Layers& layers) {
  Figure figure{.id = "kept",
                .title = "The layers that ranked:K runs",
                .caption =
                    "Each column is a cost, each row a layer, a filled cell a layer that runs: of "
                    "elimination and beam search the route that the searched half likes better.",
                .panel_aspect = 1,
                .table = {{"cost", "method", "layers"}, {}}};
  Json values = Json::array();
  for (const Point* const point : layers.ranked()) {
    const Route& route = point->named.route;
    figure.table.rows.push_back(
        {fmt::format("{}", route.cost()), point->named.method, route.to_string()});
    for (LayerIndex layer{0}; layer.value < layers.depth(); ++layer) {
      values.push_back({{"cost", route.cost()},
                        {"layer", layer.number()},
                        {"state", route.runs(layer) ? "runs" : "skipped"}});
    }
  }
  Json labelled = Json::array({1});
  for (std::int32_t layer = 5; layer <= layers.depth(); layer += 5) labelled.push_back(layer);
  const Json axis{{"values", labelled}, {"labelAngle", 0}};
  Json x = field("cost", "ordinal", "layers run");
  x["axis"] = axis;
  Json y = field("layer", "ordinal", "layer");
  y["axis"] = axis;
  y["sort"] = "descending";
  Json color = field("state", "nominal", nullptr);
  color["scale"] = {{"domain", {"runs", "skipped"}}, {"range", {"#3b6fb6", "#88888826"}}};
  figure.spec = new_spec(figure.title);
  figure.spec["data"] = {{"values", std::move(values)}};
  figure.spec["mark"] = "rect";
  figure.spec["encoding"] = {{"x", x}, {"y", y}, {"color", color}};
  return figure;
}

// --- verdicts

// How much likelier the first route leaves each answer than the second.
PairedComparison likelier(const Point& a, const Point& b, std::string name) {
  PairedComparison comparison{
      .name = std::move(name), .cost = a.named.route.cost(), .differences = {}};
  for (std::size_t i = 0; i < a.nlls.size(); ++i) {
    comparison.differences.push_back(b.nlls[i] - a.nlls[i]);
  }
  return comparison;
}

// The ranked routes against a method's, wherever the two differ and more than one layer runs.
std::vector<PairedComparison> against(const Layers& layers, std::string_view method) {
  std::vector<PairedComparison> comparisons;
  for (const Point* const point : layers.ranked()) {
    const std::int32_t cost = point->named.route.cost();
    const Point* const other = layers.at(method, cost);
    if (cost < 2 || other == nullptr || other->named.route == point->named.route) continue;
    comparisons.push_back(likelier(
        *point, *other, fmt::format("log-likelihood, search against {}", name_of(method).text)));
  }
  return comparisons;
}

std::vector<Verdict> verdicts_of(const Layers& layers) {
  std::vector<Verdict> verdicts;
  const auto add = [&](std::string claim, std::string source, std::string_view method) {
    verdicts.push_back(
        judge_above(std::move(claim), std::move(source), against(layers, method), 0));
  };
  add("Routes found by search leave the answers likelier than uniform skipping does.", "[ours]",
      "uniform");
  add("They leave them likelier than early exit does.", "[ours]", "first");
  add("They leave them likelier than dropping the best consecutive block does.", "[ours]", "block");
  add("They leave them likelier than dropping the layers of least block influence does.",
      "[Men et al. 2024]", "influence");
  if (layers.options().random_routes > 0) {
    add("They leave them likelier than the best of the random routes of each cost does.", "[ours]",
        "random");
  }
  std::vector<PairedComparison> searches;
  for (std::int32_t cost = 2; cost < layers.depth(); ++cost) {
    const Point* const beam = layers.at("beam", cost);
    const Point* const greedy = layers.at("elimination", cost);
    if (beam->named.route == greedy->named.route) continue;
    searches.push_back(likelier(*beam, *greedy, "log-likelihood, beam search against elimination"));
  }
  verdicts.push_back(
      judge_above("Beam search finds likelier routes than backward elimination, where they differ.",
                  "[ours]", searches, 0));
  return verdicts;
}

// --- the page

std::string summary_of(const Layers& layers) {
  const auto part = [&](int numerator, int denominator) {
    return std::clamp(static_cast<std::int32_t>(std::lround(static_cast<double>(layers.depth()) *
                                                            numerator / denominator)),
                      1, layers.depth() - 1);
  };
  std::string text = fmt::format(
      "The model as it is, not trained to skip layers. On answers that the search did not see, the "
      "full network has {:.3f} nats a token.",
      layers.full().nll.estimate);
  std::set<std::int32_t> costs{part(13, 15), part(11, 15), part(1, 2)};
  for (auto cost = costs.rbegin(); cost != costs.rend(); ++cost) {
    const Point& found = *layers.ranked()[static_cast<std::size_t>(*cost) - 1];
    text += fmt::format(
        " With {} of {} layers the route that was found has {:.3f}, {:.3f} above it "
        "({:.3f} to {:.3f}); uniform skipping has {:.3f}, early exit {:.3f}.",
        *cost, layers.depth(), found.nll.estimate, found.excess.estimate, found.excess.low,
        found.excess.high, layers.at("uniform", *cost)->nll.estimate,
        layers.at("first", *cost)->nll.estimate);
  }
  return text;
}

std::vector<std::string> choices_of(const LayersOptions& options) {
  std::vector<std::string> choices;
  const auto add = [&](std::string choice) { choices.push_back(std::move(choice)); };
  add("The prompt runs all layers; routes are of the answer's tokens [Glavas24 section 2].");
  add(fmt::format("Of each answer the first {} tokens are measured.", options.max_response_tokens));
  add("NLL is over y_1..y_T, of which y_1 costs no routed pass; divergence and similarity are over "
      "the positions whose inputs are y_1..y_(T-1). Means are over a row's tokens first, then over "
      "rows; intervals are bootstrap (BCa) over rows.");
  add("Of each two rows that follow each other one is drawn for the search, the other is held out. "
      "All that is shown is measured on the held-out half, but for search_nll.");
  add("Elimination leaves out, again and again, the layer without which the searched answers are "
      "likeliest. Beam search does the same from the best routes of each cost.");
  add("The block is, of all consecutive ones of its length, the one that is best left out on the "
      "searched half. Block influence is ShortGPT's, measured there too: its layers are left out "
      "from the least influence on [Men et al. 2024].");
  add(fmt::format(
      "{} random routes run layer 1 and others drawn evenly, spread evenly over the "
      "costs at which blocks are compared: every other one of the upper two thirds. The "
      "best of them is chosen on the held-out half, which favours it.",
      options.random_routes));
  add("Verdicts compare where routes differ and two layers or more run.");
  return choices;
}

RankingFile ranking_of(const Layers& layers, const RunConfig& config) {
  const auto stated = [](const Interval& interval) {
    const auto round = [](double value) { return std::round(value * 1e6) / 1e6; };
    // One row has no interval.
    return std::isfinite(interval.low)
               ? std::optional(
                     RankedNll{round(interval.estimate), round(interval.low), round(interval.high)})
               : std::nullopt;
  };
  RankingFile ranking{.model_name = config.model_name,
                      .model_sha256 = config.model_sha256,
                      .layers = layers.depth(),
                      .data_name = std::filesystem::path(config.data_path).filename().string(),
                      .data_sha256 = config.data_sha256,
                      .searched_rows = layers.run().searched.size(),
                      .held_out_rows = layers.run().held_out.size(),
                      .seed = layers.options().seed,
                      .fathom = config.versions.back(),
                      .full_nll = stated(layers.full().nll),
                      .eliminated = {},
                      .routes = {}};
  Route before = Route::full(layers.depth());
  const std::vector<const Point*> eliminated = layers.of("elimination");
  for (auto each = eliminated.rbegin(); each != eliminated.rend(); ++each) {
    for (LayerIndex l{0}; l.value < layers.depth(); ++l) {
      if (before.runs(l) && !(*each)->named.route.runs(l)) ranking.eliminated.push_back(l);
    }
    before = (*each)->named.route;
  }
  for (const Point* const point : layers.ranked()) {
    ranking.routes.push_back(
        {.route = point->named.route, .method = point->named.method, .nll = stated(point->nll)});
  }
  return ranking;
}

double mean_tokens(const std::vector<LayersRow>& rows) {
  double sum = 0;
  for (const LayersRow& row : rows) sum += static_cast<double>(row.response_tokens);
  return sum / static_cast<double>(rows.size());
}

}  // namespace

Report report_layers(const RunFolder& folder) {
  const RunConfig& config = folder.config();
  const Layers layers(
      folder, layers_options_from_json(config.options, (folder.path() / "run.sqlite").string()));
  const LayersRun& run = layers.run();

  Report report = begin_report(folder);
  report.title = fmt::format("Layers that can be left out: {}", config.model_name);
  if (!run.left_out.empty()) {
    report.warnings.push_back(fmt::format("{} of {} rows were left out; the first, '{}', since {}.",
                                          run.left_out.size(), config.rows, run.left_out.front().id,
                                          run.left_out.front().left_out.value()));
  }
  report.verdicts = verdicts_of(layers);
  report.summary = summary_of(layers);
  report.facts = {
      {"model", fmt::format("{}, {} layers", config.model_name, layers.depth())},
      {"data", std::filesystem::path(config.data_path).filename().string()},
      {"searched", fmt::format("{} rows, {:.1f} answer tokens on average", run.searched.size(),
                               mean_tokens(run.searched))},
      {"held out", fmt::format("{} rows, {:.1f} answer tokens on average", run.held_out.size(),
                               mean_tokens(run.held_out))},
      {"searches",
       fmt::format("backward elimination, beam search of width {}", layers.options().beam)},
  };
  report.figures = {leave_one_out(layers), nll_figure(layers), kept_figure(layers)};
  report.choices = choices_of(layers.options());
  folder.write("routes.csv", to_csv(routes_table(layers)));
  folder.write("samples.csv", to_csv(samples_table(layers)));
  folder.write("ranking.json", to_json(ranking_of(layers, config)).dump(2) + "\n");
  publish(report, folder);
  return report;
}

}  // namespace fathom
