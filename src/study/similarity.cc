#include "study/similarity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "depth/policy.h"
#include "depth/selector.h"
#include "formats/json_file.h"
#include "metrics/mean_error.h"
#include "study/route_similarity.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 5> kinds{"first", "random", "random-free", "uniform",
                                                "block"};

// The store's route for what is known of a row without any routed pass.
constexpr auto reference_route = "full";

struct NamedRoute {
  std::string policy;
  Route route;
};

std::vector<std::string> policies_of(const SimilarityOptions& options) {
  std::vector<std::string> policies;
  for (const std::string& kind : options.kinds) {
    for (const std::int32_t cost : options.costs) {
      policies.push_back(fmt::format("{}:{}", kind, cost));
    }
  }
  return policies;
}

// Cosines by the dozen need no more digits than these, and none of their noise.
double rounded(double value) {
  constexpr double digits = 1e7;
  return std::round(value * digits) / digits;
}

Json nll_json(std::span<const double> nll) {
  return {{"nll", mean_of(nll)},
          {"nll_without_first", nll.size() > 1 ? Json(mean_of(nll.subspan(1))) : Json(nullptr)}};
}

std::string value_of(const Route& route, const RouteSimilarity& similarity) {
  Json json{{"layers", route.to_string()},
            {"final", similarity.final()},
            {"final_normed", similarity.final_normed},
            {"intermediate", similarity.intermediate()}};
  json.update(nll_json(similarity.nll));
  Json by_layer = Json::array();
  for (const double layer : similarity.layers) by_layer.push_back(rounded(layer));
  json["by_layer"] = std::move(by_layer);
  return json.dump();
}

/// Measures the rows of a run one after the other.
class Measurement {
 public:
  Measurement(LanguageModel& model, const ModelFiles& files, const PromptMaker& prompts,
              const SimilarityOptions& options, RunFolder& folder, const StopFlag& stop)
      : model_(model),
        files_(files),
        prompts_(prompts),
        options_(options),
        store_(folder.store()),
        stop_(stop),
        policies_(policies_of(options)) {}

  bool run(std::span<const Example> examples) {
    std::vector<std::set<std::string>> missing;
    std::size_t done = 0;
    for (std::uint64_t sample = 0; sample < examples.size(); ++sample) {
      missing.push_back(missing_of(sample));
      done += policies_.size() - missing.back().size();
    }
    Progress progress("routes", examples.size() * policies_.size(), done);
    for (std::uint64_t sample = 0; sample < examples.size(); ++sample) {
      if (missing[sample].empty()) continue;
      measure_row(sample, examples[sample], missing[sample], [&](std::size_t count) {
        done += count;
        progress.done(done);
      });
      if (stop_.load()) return false;
    }
    return true;
  }

 private:
  // The policies that a row lacks: all of them where it was left out, which is then said again.
  std::set<std::string> missing_of(std::uint64_t sample) const {
    const std::set<std::string> there = store_.routes_of(sample);
    std::set<std::string> missing(policies_.begin(), policies_.end());
    for (const std::string& policy : there) missing.erase(policy);
    return missing;
  }

  template <class Done>
  void measure_row(std::uint64_t sample, const Example& example,
                   const std::set<std::string>& missing, const Done& done) {
    Json reference{{"id", example.id}};
    const auto leave_out = [&](std::string_view why) {
      reference["left_out"] = why;
      put(sample, reference_route, text(reference));
      done(missing.size());
    };
    const std::vector<TokenId> prompt = prompts_.example(example);
    if (prompt.empty()) return leave_out("its prompt has no tokens");
    const std::size_t context = model_.config().context;
    if (prompt.size() >= context) {
      return leave_out(fmt::format("its prompt of {} tokens does not fit into a context of {}",
                                   prompt.size(), context));
    }
    const auto cache = model_.new_cache(context);
    ForwardOutput output;
    if (!prefill(model_, *cache, prompt, default_prefill_chunk, output, stop_)) return;
    const std::vector<TokenId> response = response_of(example, *cache, prompt);
    if (stop_.load()) return;
    if (response.empty()) return leave_out("its response has no tokens");
    if (prompt.size() + response.size() > context) {
      return leave_out(fmt::format("its {} tokens do not fit into a context of {}",
                                   prompt.size() + response.size(), context));
    }

    ResponseSimilarity similarity(model_, *cache, output.logit_row(0).values, response);
    reference["prompt_tokens"] = prompt.size();
    reference["response_tokens"] = response.size();
    reference.update(nll_json(similarity.full().nll));
    put(sample, reference_route, text(reference));
    for (const NamedRoute& each : routes_of(example, missing)) {
      if (stop_.load()) return;
      put(sample, each.policy, value_of(each.route, similarity.measure(each.route)));
      done(1);
    }
  }

  // The response whose tokens are forced.
  std::vector<TokenId> response_of(const Example& example, const KvCache& cache,
                                   std::span<const TokenId> prompt) const {
    if (options_.on == ResponseSource::labels) {
      return files_.tokenizer.encode(example.response, SpecialTokens::recognize);
    }
    // The prompt's last token is run once more: it is what generating begins with.
    const std::unique_ptr<KvCache> own = cache.fork();
    own->truncate(prompt.size() - 1);
    const RouteSelector full(Route::full(model_.config().depth()));
    const std::size_t room = cache.capacity() - prompt.size();
    const GenerateOptions options{.max_new_tokens = std::min(options_.max_new_tokens, room),
                                  .end_tokens = files_.end_tokens};
    const Generation generation = generate(model_, *own, files_.tokenizer, prompt, full, options,
                                           stop_, [](std::string_view) {});
    std::vector<TokenId> tokens;
    for (const GeneratedToken& each : generation.tokens) tokens.push_back(each.token);
    return tokens;
  }

  std::vector<NamedRoute> routes_of(const Example& example,
                                    const std::set<std::string>& missing) const {
    std::vector<NamedRoute> routes;
    for (const std::string& policy : missing) {
      routes.push_back({policy, resolve(parse_policy(policy), model_.config().depth(),
                                        options_.seed, sequence_key(example.id))});
    }
    std::stable_sort(routes.begin(), routes.end(), [](const NamedRoute& a, const NamedRoute& b) {
      return shares_most(a.route, b.route);
    });
    return routes;
  }

  void put(std::uint64_t sample, const std::string& route, std::string value) {
    store_.put({sample, route, std::move(value)});
  }
  static std::string text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  LanguageModel& model_;
  const ModelFiles& files_;
  const PromptMaker& prompts_;
  const SimilarityOptions& options_;
  ResultStore& store_;
  const StopFlag& stop_;
  std::vector<std::string> policies_;
};

SimilarityResult parse_result(const JsonFields& fields) {
  return {.layers = fields.require_string("layers"),
          .final = fields.require_float("final"),
          .final_normed = fields.require_float("final_normed"),
          .intermediate = fields.require_float("intermediate"),
          .nll = fields.require_float("nll"),
          .nll_without_first = fields.find_float("nll_without_first"),
          .by_layer = fields.find_floats("by_layer").value_or(std::vector<double>{})};
}

}  // namespace

std::string_view name(ResponseSource source) {
  return source == ResponseSource::labels ? "labels" : "generated";
}

std::span<const std::string_view> similarity_kinds() { return kinds; }

Json to_json(const SimilarityOptions& options) {
  Json json{{"routes", options.kinds},
            {"costs", options.costs},
            {"on", name(options.on)},
            {"seed", options.seed}};
  if (options.on == ResponseSource::generated) json["max_new_tokens"] = options.max_new_tokens;
  return json;
}

SimilarityOptions similarity_options_from_json(const nlohmann::json& json, std::string_view file) {
  const JsonFields fields(std::string(file), json);
  SimilarityOptions options;
  options.kinds = fields.find_strings("routes").value_or(std::vector<std::string>{});
  for (const std::string& kind : options.kinds) {
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      fields.fail("routes", fmt::format("'{}' is no kind of route", kind));
    }
  }
  constexpr std::uint64_t most_layers = 65536;
  for (const std::uint64_t cost : fields.find_one_or_more_unsigned("costs", most_layers)
                                      .value_or(std::vector<std::uint64_t>{})) {
    options.costs.push_back(static_cast<std::int32_t>(cost));
  }
  if (options.kinds.empty()) fields.fail("routes", "expected at least one");
  if (options.costs.empty()) fields.fail("costs", "expected at least one");
  const std::string& on = fields.require_string("on");
  if (on != "labels" && on != "generated") {
    fields.fail("on", fmt::format("expected labels or generated, found '{}'", on));
  }
  options.on = on == "labels" ? ResponseSource::labels : ResponseSource::generated;
  options.seed = fields.require_unsigned("seed");
  if (const auto tokens = fields.find_unsigned("max_new_tokens")) options.max_new_tokens = *tokens;
  return options;
}

bool measure_similarity(LanguageModel& model, const ModelFiles& files, const PromptMaker& prompts,
                        std::span<const Example> examples, const SimilarityOptions& options,
                        RunFolder& folder, const StopFlag& stop) {
  return Measurement(model, files, prompts, options, folder, stop).run(examples);
}

std::vector<SimilarityRow> read_similarity(const RunFolder& folder,
                                           const SimilarityOptions& options) {
  const std::size_t routes = options.kinds.size() * options.costs.size();
  std::vector<SimilarityRow> rows;
  const auto add_complete = [&](SimilarityRow row) {
    if (row.left_out || row.routes.size() == routes) rows.push_back(std::move(row));
  };
  SimilarityRow row;
  bool any = false;
  for (const Result& result : folder.store().results()) {
    if (any && result.sample != row.sample) {
      add_complete(std::exchange(row, {}));
    }
    any = true;
    row.sample = result.sample;
    const std::string place =
        fmt::format("{}: sample {}, route {}", folder.path().string(), result.sample, result.route);
    const nlohmann::json json = parse_json(result.value, place);
    const JsonFields fields(place, json);
    if (result.route != reference_route) {
      row.routes[result.route] = parse_result(fields);
      continue;
    }
    row.id = fields.require_string("id");
    if (const std::string* const why = fields.find_string("left_out")) {
      row.left_out = *why;
      continue;
    }
    row.prompt_tokens = fields.require_unsigned("prompt_tokens");
    row.response_tokens = fields.require_unsigned("response_tokens");
  }
  if (any) add_complete(std::move(row));
  return rows;
}

}  // namespace fathom
