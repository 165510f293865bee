#include "study/layers.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

// The store's route for what is known of a row without any routed pass.
constexpr auto reference_route = "full";

// How many routes of a held-out row are measured before the results are stored.
constexpr std::size_t routes_at_once = 128;

std::string text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Where blocks and random routes are compared with the searches: every other cost, the lowest third
// left out, where no answer makes sense. One cost of a model that is too small for that.
std::vector<std::int32_t> compared_costs(std::int32_t depth) {
  std::vector<std::int32_t> costs;
  for (std::int32_t cost = depth - 2; cost >= (depth + 2) / 3; cost -= 2) costs.push_back(cost);
  if (costs.empty()) costs.push_back(depth - 1);
  std::reverse(costs.begin(), costs.end());
  return costs;
}

/// What the search's half decides.
struct Findings {
  std::vector<FoundRoute> elimination, beam, blocks;
  std::vector<Route> by_influence;
};

std::optional<Findings> search_all(std::int32_t depth, const LayersOptions& options,
                                   std::span<const double> influence, const RouteLosses& losses) {
  const auto elimination = beam_search(depth, 1, losses);
  if (!elimination) return std::nullopt;
  const auto beam = beam_search(depth, options.beam, losses);
  if (!beam) return std::nullopt;
  const auto blocks = best_blocks(depth, compared_costs(depth), losses);
  if (!blocks) return std::nullopt;
  return Findings{.elimination = *elimination,
                  .beam = *beam,
                  .blocks = *blocks,
                  .by_influence = by_score(influence)};
}

// All routes that are reported.
std::vector<NamedRoute> reported_routes(std::int32_t depth, const LayersOptions& options,
                                        const Findings& findings) {
  std::vector<NamedRoute> routes{{"full", Route::full(depth), std::nullopt}};
  for (LayerIndex l{0}; l.value < depth; ++l) {
    routes.push_back({"leave-one-out", without(Route::full(depth), l), std::nullopt});
  }
  const auto add_found = [&](const std::string& method, std::vector<FoundRoute> found) {
    std::sort(found.begin(), found.end(), [](const FoundRoute& a, const FoundRoute& b) {
      return a.route.cost() < b.route.cost();
    });
    for (const FoundRoute& each : found) routes.push_back({method, each.route, each.loss});
  };
  add_found("elimination", findings.elimination);
  add_found("beam", findings.beam);
  add_found("block", findings.blocks);
  for (auto route = findings.by_influence.rbegin(); route != findings.by_influence.rend();
       ++route) {
    routes.push_back({"influence", *route, std::nullopt});
  }
  for (std::int32_t cost = 1; cost < depth; ++cost) {
    routes.push_back({"uniform", Route::uniform(cost, depth), std::nullopt});
  }
  for (std::int32_t cost = 1; cost < depth; ++cost) {
    routes.push_back({"first", Route::first(cost, depth), std::nullopt});
  }
  // Evenly over the compared costs.
  const std::vector<std::int32_t> costs = compared_costs(depth);
  for (std::size_t c = 0; c < costs.size(); ++c) {
    for (std::size_t i = c; i < options.random_routes; i += costs.size()) {
      routes.push_back({"random", Route::random(costs[c], depth, options.seed, i), std::nullopt});
    }
  }
  return routes;
}

LayersRow parse_reference(const JsonFields& fields, std::uint64_t sample, std::uint64_t seed,
                          std::int32_t depth) {
  LayersRow row{.sample = sample, .id = fields.require_string("id"), .half = half_of(sample, seed)};
  if (const std::string* const why = fields.find_string("left_out")) {
    row.left_out = *why;
    return row;
  }
  row.prompt_tokens = fields.require_unsigned("prompt_tokens");
  row.response_tokens = fields.require_unsigned("response_tokens");
  row.full_nll = fields.require_float("nll");
  row.influence = fields.find_floats("influence").value_or(std::vector<double>{});
  if (row.influence.size() != static_cast<std::size_t>(depth)) {
    fields.fail("influence", fmt::format("expected {} numbers", depth));
  }
  return row;
}

// All that the store has, by sample.
std::map<std::uint64_t, LayersRow> stored_rows(const RunFolder& folder,
                                               const LayersOptions& options) {
  std::map<std::uint64_t, LayersRow> rows;
  const std::vector<Result> results = folder.store().results();
  const auto fields_of = [&](const Result& result, auto&& use) {
    const std::string place =
        fmt::format("{}: sample {}, route {}", folder.path().string(), result.sample, result.route);
    const nlohmann::json json = parse_json(result.value, place);
    use(JsonFields(place, json));
  };
  for (const Result& result : results) {
    if (result.route != reference_route) continue;
    fields_of(result, [&](const JsonFields& fields) {
      rows.emplace(result.sample,
                   parse_reference(fields, result.sample, options.seed, folder.config().layers));
    });
  }
  for (const Result& result : results) {
    const auto row = rows.find(result.sample);
    // A reference that a damaged store lost is measured again, its routes are there.
    if (result.route == reference_route || row == rows.end()) continue;
    fields_of(result, [&](const JsonFields& fields) {
      const double nll = fields.require_float("nll");
      if (row->second.half == Half::search) {
        row->second.searched[result.route] = nll;
      } else {
        row->second.effects[result.route] = {.nll = nll,
                                             .divergence = fields.require_float("divergence"),
                                             .similarity = fields.require_float("similarity")};
      }
    });
  }
  return rows;
}

std::vector<double> mean_influence(const std::vector<const LayersRow*>& rows, std::int32_t depth) {
  std::vector<double> mean(static_cast<std::size_t>(depth), 0.0);
  for (const LayersRow* const row : rows) {
    for (std::size_t l = 0; l < mean.size(); ++l) {
      mean[l] += row->influence[l] / static_cast<double>(rows.size());
    }
  }
  return mean;
}

// Mean NLL of each route over rows that have all of them.
std::vector<double> mean_nll(const std::vector<const LayersRow*>& rows,
                             const std::vector<std::string>& routes) {
  std::vector<double> mean;
  for (const std::string& route : routes) {
    double sum = 0;
    for (const LayersRow* const row : rows) sum += row->searched.at(route);
    mean.push_back(sum / static_cast<double>(rows.size()));
  }
  return mean;
}

std::vector<std::string> names_of(std::span<const Route> routes) {
  std::vector<std::string> names;
  for (const Route& route : routes) names.push_back(route.to_string());
  return names;
}

// Rows of a half that were measured. Throws FileError if there is none.
std::vector<const LayersRow*> rows_of(const std::map<std::uint64_t, LayersRow>& rows, Half half,
                                      const std::filesystem::path& folder) {
  std::vector<const LayersRow*> result;
  for (const auto& [sample, row] : rows) {
    if (row.half == half && !row.left_out) result.push_back(&row);
  }
  if (result.empty()) {
    throw FileError(folder.string(), "",
                    fmt::format("of the {} rows none could be measured for the {} half; give more "
                                "with --limit",
                                rows.size(), name(half)));
  }
  return result;
}

/// Measures a run.
class Measurement {
 public:
  Measurement(LanguageModel& model, ThreadTeam& team, const ModelFiles& files,
              const PromptMaker& prompts, std::span<const Example> examples,
              const LayersOptions& options, RunFolder& folder, const StopFlag& stop)
      : model_(model),
        team_(team),
        files_(files),
        prompts_(prompts),
        examples_(examples),
        options_(options),
        folder_(folder),
        stop_(stop),
        depth_(model.config().depth()),
        rows_(stored_rows(folder, options)) {}

  bool run() {
    if (!describe_rows()) return false;
    const std::vector<const LayersRow*> searched = rows_of(rows_, Half::search, folder_.path());
    const std::vector<const LayersRow*> held_out = rows_of(rows_, Half::held_out, folder_.path());
    const std::optional<Findings> findings = search(searched);
    if (!findings) return false;
    prepared_.clear();
    return report(held_out, *findings);
  }

 private:
  struct Prepared {
    std::unique_ptr<KvCache> cache;
    std::unique_ptr<ForcedResponse> response;
  };

  // The first pass over the rows: which can be measured, and what the full model makes of them.
  bool describe_rows() {
    Progress progress("rows", examples_.size(), rows_.size());
    for (std::uint64_t sample = 0; sample < examples_.size(); ++sample) {
      if (rows_.contains(sample)) continue;
      if (!describe(sample)) return false;
      progress.done(rows_.size());
    }
    return true;
  }

  bool describe(std::uint64_t sample) {
    const Example& example = examples_[sample];
    Json reference{{"id", example.id}};
    const std::vector<TokenId> prompt = prompts_.example(example);
    const std::vector<TokenId> response = response_of(example);
    const std::size_t context = model_.config().context;
    if (prompt.empty()) {
      reference["left_out"] = "its prompt has no tokens";
    } else if (response.size() < 2) {
      reference["left_out"] = fmt::format(
          "its answer has {} tokens; at least two are needed, since the prompt pass "
          "predicts the first",
          response.size());
    } else if (prompt.size() + response.size() > context) {
      reference["left_out"] = fmt::format("its {} tokens do not fit into a context of {}",
                                          prompt.size() + response.size(), context);
    } else {
      ForcedResponse* const forced = prepared(sample);
      if (forced == nullptr) return false;
      const std::vector<Route> full{Route::full(depth_)};
      reference["prompt_tokens"] = prompt.size();
      reference["response_tokens"] = response.size();
      reference["nll"] = forced->nll(full).front();
      reference["influence"] = forced->block_influence();
      if (half_of(sample, options_.seed) == Half::held_out) prepared_.erase(sample);
    }
    folder_.store().put({sample, reference_route, text(reference)});
    const nlohmann::json json = reference;
    rows_.emplace(sample, parse_reference(JsonFields("", json), sample, options_.seed, depth_));
    return true;
  }

  // The tokens of the answer that are forced.
  std::vector<TokenId> response_of(const Example& example) const {
    std::vector<TokenId> tokens =
        files_.tokenizer.encode(example.response, SpecialTokens::recognize);
    tokens.resize(std::min(tokens.size(), options_.max_response_tokens));
    return tokens;
  }

  // A row's answer, ready for routes. nullptr if the run is to stop.
  ForcedResponse* prepared(std::uint64_t sample) {
    Prepared& row = prepared_[sample];
    if (row.response != nullptr) return row.response.get();
    const std::vector<TokenId> prompt = prompts_.example(examples_[sample]);
    const std::vector<TokenId> response = response_of(examples_[sample]);
    row.cache = model_.new_cache(model_.config().context);
    ForwardOutput output;
    if (!prefill(model_, *row.cache, prompt, default_prefill_chunk, output, stop_)) return nullptr;
    row.response = std::make_unique<ForcedResponse>(model_, team_, *row.cache,
                                                    output.logit_row(0).values, response);
    return row.response.get();
  }

  std::optional<Findings> search(const std::vector<const LayersRow*>& searched) {
    // Two searches of depth - 1 rounds, and the blocks.
    const std::size_t rounds =
        2 * (static_cast<std::size_t>(depth_) - 1) + compared_costs(depth_).size();
    Progress progress("rounds of the search", rounds);
    std::size_t done = 0;
    const RouteLosses losses =
        [&](std::span<const Route> routes) -> std::optional<std::vector<double>> {
      for (const LayersRow* const row : searched) {
        if (!search_row(row->sample, routes)) return std::nullopt;
      }
      progress.done(++done);
      return mean_nll(searched, names_of(routes));
    };
    return search_all(depth_, options_, mean_influence(searched, depth_), losses);
  }

  bool search_row(std::uint64_t sample, std::span<const Route> routes) {
    LayersRow& row = rows_.at(sample);
    std::vector<Route> missing;
    for (const Route& route : routes) {
      if (!row.searched.contains(route.to_string())) missing.push_back(route);
    }
    if (missing.empty()) return true;
    if (stop_.load()) return false;
    ForcedResponse* const response = prepared(sample);
    if (response == nullptr) return false;
    const std::vector<double> nll = response->nll(missing);
    std::vector<Result> results;
    for (std::size_t i = 0; i < missing.size(); ++i) {
      const std::string route = missing[i].to_string();
      results.push_back({sample, route, text({{"nll", nll[i]}})});
      row.searched[route] = nll[i];
    }
    folder_.store().put(results);
    return true;
  }

  bool report(const std::vector<const LayersRow*>& held_out, const Findings& findings) {
    std::vector<Route> routes;
    for (const NamedRoute& each : reported_routes(depth_, options_, findings)) {
      routes.push_back(each.route);
    }
    std::sort(routes.begin(), routes.end(), runs_earlier);
    routes.erase(std::unique(routes.begin(), routes.end()), routes.end());
    Progress progress("held-out rows", held_out.size());
    for (std::size_t done = 0; done < held_out.size(); ++done) {
      if (!report_row(held_out[done]->sample, routes)) return false;
      progress.done(done + 1);
    }
    return true;
  }

  bool report_row(std::uint64_t sample, std::span<const Route> routes) {
    LayersRow& row = rows_.at(sample);
    std::vector<Route> missing;
    for (const Route& route : routes) {
      if (!row.effects.contains(route.to_string())) missing.push_back(route);
    }
    for (std::size_t begin = 0; begin < missing.size(); begin += routes_at_once) {
      if (stop_.load()) return false;
      ForcedResponse* const response = prepared(sample);
      if (response == nullptr) return false;
      const auto these =
          std::span(missing).subspan(begin, std::min(routes_at_once, missing.size() - begin));
      const std::vector<RouteEffect> effects = response->effects(these);
      std::vector<Result> results;
      for (std::size_t i = 0; i < these.size(); ++i) {
        results.push_back({sample, these[i].to_string(),
                           text({{"nll", effects[i].nll},
                                 {"divergence", effects[i].divergence},
                                 {"similarity", effects[i].similarity}})});
        row.effects[these[i].to_string()] = effects[i];
      }
      folder_.store().put(results);
    }
    prepared_.erase(sample);
    return true;
  }

  LanguageModel& model_;
  ThreadTeam& team_;
  const ModelFiles& files_;
  const PromptMaker& prompts_;
  std::span<const Example> examples_;
  const LayersOptions& options_;
  RunFolder& folder_;
  const StopFlag& stop_;
  std::int32_t depth_;
  std::map<std::uint64_t, LayersRow> rows_;
  std::map<std::uint64_t, Prepared> prepared_;
};

}  // namespace

std::string_view name(Half half) { return half == Half::search ? "search" : "held-out"; }

Half half_of(std::uint64_t sample, std::uint64_t seed) {
  RandomStream stream({.seed = seed, .purpose = RandomPurpose::half, .sequence = sample / 2});
  const bool first_searches = stream.below(2) == 0;
  return (sample % 2 == 0) == first_searches ? Half::search : Half::held_out;
}

Json to_json(const LayersOptions& options) {
  return {{"beam", options.beam},
          {"random_routes", options.random_routes},
          {"max_response_tokens", options.max_response_tokens},
          {"seed", options.seed}};
}

LayersOptions layers_options_from_json(const nlohmann::json& json, std::string_view file) {
  const JsonFields fields(std::string(file), json);
  const LayersOptions options{.beam = fields.require_unsigned("beam"),
                              .random_routes = fields.require_unsigned("random_routes"),
                              .max_response_tokens = fields.require_unsigned("max_response_tokens"),
                              .seed = fields.require_unsigned("seed")};
  if (options.beam == 0) fields.fail("beam", "expected at least 1");
  return options;
}

bool measure_layers(LanguageModel& model, ThreadTeam& team, const ModelFiles& files,
                    const PromptMaker& prompts, std::span<const Example> examples,
                    const LayersOptions& options, RunFolder& folder, const StopFlag& stop) {
  return Measurement(model, team, files, prompts, examples, options, folder, stop).run();
}

LayersRun read_layers(const RunFolder& folder, const LayersOptions& options) {
  const std::map<std::uint64_t, LayersRow> rows = stored_rows(folder, options);
  const std::int32_t depth = folder.config().layers;
  const auto incomplete = [&] {
    throw FileError(folder.path().string(), "",
                    "the run is not complete, and its search decides what is reported; the study's "
                    "own command goes on from there");
  };
  if (rows.size() < folder.config().rows) incomplete();
  const auto searched = rows_of(rows, Half::search, folder.path());
  const auto held_out = rows_of(rows, Half::held_out, folder.path());
  const RouteLosses losses =
      [&](std::span<const Route> routes) -> std::optional<std::vector<double>> {
    const std::vector<std::string> names = names_of(routes);
    for (const LayersRow* const row : searched) {
      for (const std::string& name : names) {
        if (!row->searched.contains(name)) return std::nullopt;
      }
    }
    return mean_nll(searched, names);
  };
  const std::optional<Findings> findings =
      search_all(depth, options, mean_influence(searched, depth), losses);
  if (!findings) incomplete();
  LayersRun run{.routes = reported_routes(depth, options, *findings)};
  for (const NamedRoute& each : run.routes) {
    for (const LayersRow* const row : held_out) {
      if (!row->effects.contains(each.route.to_string())) incomplete();
    }
  }
  for (const auto& [sample, row] : rows) {
    (row.left_out               ? run.left_out
     : row.half == Half::search ? run.searched
                                : run.held_out)
        .push_back(row);
  }
  return run;
}

}  // namespace fathom
