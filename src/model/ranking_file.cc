#include "model/ranking_file.h"

#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "depth/policy.h"
#include "formats/json_file.h"
#include "model/shipped_rankings.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view format_name = "fathom ranking";
constexpr std::uint64_t format_version = 1;
constexpr std::size_t largest_file = std::size_t{16} << 20;
constexpr std::uint64_t most_layers = 65536;  // far more than any model has; bounds the memory

Json nll_json(const std::optional<RankedNll>& nll) {
  if (!nll) return nullptr;
  return {{"mean", nll->mean}, {"low", nll->low}, {"high", nll->high}};
}

std::optional<RankedNll> parse_nll(const JsonFields& fields) {
  const auto nll = fields.find_object("nll");
  if (!nll) return std::nullopt;
  return RankedNll{.mean = nll->require_float("mean"),
                   .low = nll->require_float("low"),
                   .high = nll->require_float("high")};
}

JsonFields require_object(const JsonFields& fields, std::string_view key) {
  const auto object = fields.find_object(key);
  if (!object) fields.fail(key, "missing; expected an object");
  return *object;
}

Route parse_route(const JsonFields& fields, std::int32_t depth) {
  const std::string& layers = fields.require_string("layers");
  const std::uint64_t cost = fields.require_unsigned("cost", most_layers);
  Route route = [&] {
    try {
      return resolve(parse_policy("layers:" + layers), depth, 0, 0);
    } catch (const InputError& error) {
      fields.fail("layers", error.what());
    }
  }();
  if (static_cast<std::uint64_t>(route.cost()) != cost) {
    fields.fail("cost", fmt::format("{} found; '{}' are {} layers", cost, layers, route.cost()));
  }
  return route;
}

std::vector<RankedRoute> parse_routes(const JsonFields& fields, std::int32_t depth) {
  const auto routes = fields.object().find("routes");
  if (routes == fields.object().end() || !routes->is_array() || routes->empty()) {
    fields.fail("routes", "expected an array of at least one route");
  }
  std::vector<RankedRoute> result;
  for (std::size_t i = 0; i < routes->size(); ++i) {
    const JsonFields route(fmt::format("{}: route {}", fields.file(), i + 1), (*routes)[i]);
    result.push_back({.route = parse_route(route, depth),
                      .method = route.require_string("method"),
                      .nll = parse_nll(route)});
    if (i > 0 && result[i].route.cost() <= result[i - 1].route.cost()) {
      route.fail("cost", "expected more layers than the route before has");
    }
  }
  return result;
}

}  // namespace

Ranking RankingFile::ranking() const {
  std::vector<Route> kept;
  for (const RankedRoute& each : routes) kept.push_back(each.route);
  return {layers, std::move(kept)};
}

Json to_json(const RankingFile& ranking) {
  Json eliminated = Json::array();
  for (const LayerIndex layer : ranking.eliminated) eliminated.push_back(layer.number());
  Json routes = Json::array();
  for (const RankedRoute& each : ranking.routes) {
    Json route{
        {"cost", each.route.cost()}, {"layers", each.route.to_string()}, {"method", each.method}};
    if (each.nll) route["nll"] = nll_json(each.nll);
    routes.push_back(std::move(route));
  }
  Json json{{"format", format_name},
            {"version", format_version},
            {"model",
             {{"name", ranking.model_name},
              {"layers", ranking.layers},
              {"sha256", ranking.model_sha256}}},
            {"data",
             {{"name", ranking.data_name},
              {"sha256", ranking.data_sha256},
              {"searched_rows", ranking.searched_rows},
              {"held_out_rows", ranking.held_out_rows}}},
            {"seed", ranking.seed},
            {"fathom", ranking.fathom}};
  if (ranking.full_nll) json["nll"] = nll_json(ranking.full_nll);
  json["eliminated"] = std::move(eliminated);
  json["routes"] = std::move(routes);
  return json;
}

RankingFile parse_ranking(std::string_view text, std::string_view file) {
  const nlohmann::json json = parse_json(text, file);
  const JsonFields fields(std::string(file), json);
  if (fields.require_string("format") != format_name) {
    fields.fail("format", fmt::format("expected '{}'", format_name));
  }
  if (const std::uint64_t version = fields.require_unsigned("version"); version != format_version) {
    fields.fail("version", fmt::format("{} found; this fathom reads {}", version, format_version));
  }
  const JsonFields model = require_object(fields, "model");
  const JsonFields data = require_object(fields, "data");
  RankingFile ranking{
      .model_name = model.require_string("name"),
      .model_sha256 = model.require_string("sha256"),
      .layers = static_cast<std::int32_t>(model.require_unsigned("layers", most_layers)),
      .data_name = data.require_string("name"),
      .data_sha256 = data.require_string("sha256"),
      .searched_rows = data.require_unsigned("searched_rows"),
      .held_out_rows = data.require_unsigned("held_out_rows"),
      .seed = fields.require_unsigned("seed"),
      .fathom = fields.require_string("fathom"),
      .full_nll = parse_nll(fields),
      .eliminated = {},
      .routes = {}};
  if (ranking.layers == 0) model.fail("layers", "expected at least one");
  for (const std::uint64_t number : fields.find_one_or_more_unsigned("eliminated", most_layers)
                                        .value_or(std::vector<std::uint64_t>{})) {
    if (number < 1 || number > static_cast<std::uint64_t>(ranking.layers)) {
      fields.fail("eliminated",
                  fmt::format("layer {} found; there are 1 to {}", number, ranking.layers));
    }
    ranking.eliminated.emplace_back(static_cast<std::int32_t>(number) - 1);
  }
  ranking.routes = parse_routes(fields, ranking.layers);
  return ranking;
}

RankingFile read_ranking(const std::filesystem::path& path) {
  return parse_ranking(read_text_file(path, largest_file), path.string());
}

std::optional<RankingFile> shipped_ranking(std::string_view model_sha256) {
  for (const auto& [name, text] : shipped_rankings()) {
    RankingFile ranking = parse_ranking(text, name);
    if (ranking.model_sha256 == model_sha256) return ranking;
  }
  return std::nullopt;
}

}  // namespace fathom
