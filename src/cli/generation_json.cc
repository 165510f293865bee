#include "cli/generation_json.h"

#include <utility>

namespace fathom {

Json route_json(const Selector& selector) {
  const Route* const route = selector.fixed_route();
  return route != nullptr ? Json(route->to_string()) : Json(nullptr);
}

Json to_json(const DepthPolicy& policy, const Selector& selector, std::span<const TokenId> prompt,
             const Generation& generation) {
  Json tokens = Json::array();
  for (const GeneratedToken& token : generation.tokens) tokens.push_back(token.token.value);
  Json json{{"depth", to_string(policy)},
            {"route", route_json(selector)},
            {"prompt_tokens", to_json(prompt)},
            {"tokens", std::move(tokens)},
            {"text", generation.text},
            {"stop_reason", name(generation.reason)},
            {"mean_layers", nullptr}};
  if (const auto layers = generation.mean_layers()) json["mean_layers"] = *layers;
  return json;
}

Json logprobs_json(const Generation& generation) {
  Json list = Json::array();
  for (const GeneratedToken& token : generation.tokens) {
    Json alternatives = Json::array();
    for (const TokenLogprob& each : token.alternatives) {
      alternatives.push_back({{"token", each.token.value}, {"logprob", each.logprob}});
    }
    list.push_back({{"token", token.token.value},
                    {"logprob", token.logprob.value_or(0)},
                    {"alternatives", std::move(alternatives)}});
  }
  return list;
}

}  // namespace fathom
