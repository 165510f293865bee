#include "depth/policy.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {
namespace {

constexpr std::string_view grammar =
    "full, first:K, uniform:K, random:K, random-free:K, block:K, ranked:K, layers:1,3,5-9, "
    "confidence:T or controller:FILE";

[[noreturn]] void refuse(std::string_view text, std::string_view problem) {
  throw InputError(fmt::format("depth policy '{}': {}", text, problem));
}

std::optional<std::int32_t> parse_number(std::string_view text) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::int32_t parse_cost(std::string_view policy, std::string_view argument) {
  const std::optional<std::int32_t> cost = parse_number(argument);
  if (!cost || *cost < 1) {
    refuse(policy, fmt::format("expected a number of layers from 1, found '{}'", argument));
  }
  return *cost;
}

double parse_threshold(std::string_view policy, std::string_view argument) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(argument.data(), argument.data() + argument.size(), value);
  const bool whole = error == std::errc{} && end == argument.data() + argument.size();
  if (!whole || !(value > 0 && value <= 1)) {
    refuse(policy, fmt::format("expected a margin above 0, up to 1, found '{}'", argument));
  }
  return value;
}

// Layers as people write them: "1,3,5-9".
ListedLayers parse_layers(std::string_view policy, std::string_view list) {
  constexpr std::int32_t most = 65536;  // far more than any model has; bounds the memory
  ListedLayers result;
  std::size_t begin = 0;
  while (begin <= list.size()) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    const std::string_view item = list.substr(begin, comma - begin);
    const std::size_t dash = item.find('-');
    const auto first = parse_number(item.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_number(item.substr(dash + 1));
    if (!first || !last || *first < 1 || *last < *first || *last > most) {
      refuse(policy, fmt::format("expected layers such as 1,3,5-9, found '{}'", item));
    }
    for (std::int32_t number = *first; number <= *last; ++number) {
      result.layers.emplace_back(number - 1);
    }
    begin = comma + 1;
  }
  std::sort(result.layers.begin(), result.layers.end());
  if (std::adjacent_find(result.layers.begin(), result.layers.end()) != result.layers.end()) {
    refuse(policy, "a layer is named twice");
  }
  return result;
}

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string layer_list(const std::vector<LayerIndex>& layers) {
  return layers.empty() ? "" : Route::of(layers, layers.back().number()).to_string();
}

Route ranked_route(std::int32_t cost, std::int32_t depth, const std::optional<Ranking>& ranking) {
  if (!ranking) throw InputError("needs a ranking of the model's layers");
  if (ranking->depth() != depth) {
    throw InputError(fmt::format("the ranking is of a model of {} layers; this one has {}",
                                 ranking->depth(), depth));
  }
  return ranking->route(cost);
}

}  // namespace

DepthPolicy parse_policy(std::string_view text) {
  if (text == "full") return FullDepth{};
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  if (kind == "full") refuse(text, "full takes no argument");
  if (kind == "router") {
    refuse(text, fmt::format("'router' is not available in this version; use {}", grammar));
  }
  if (colon == std::string_view::npos) refuse(text, fmt::format("expected {}", grammar));
  const std::string_view argument = text.substr(colon + 1);
  if (kind == "first") return FirstLayers{parse_cost(text, argument)};
  if (kind == "uniform") return UniformLayers{parse_cost(text, argument)};
  if (kind == "random") return RandomLayers{parse_cost(text, argument)};
  if (kind == "random-free") return RandomFreeLayers{parse_cost(text, argument)};
  if (kind == "block") return BlockDropped{parse_cost(text, argument)};
  if (kind == "ranked") return RankedLayers{parse_cost(text, argument)};
  if (kind == "confidence") return ConfidenceExit{parse_threshold(text, argument)};
  if (kind == "layers") return parse_layers(text, argument);
  if (kind == "controller") {
    if (argument.empty()) refuse(text, "expected the file of the controllers");
    return ControlledLayers{std::string(argument)};
  }
  refuse(text, fmt::format("expected {}", grammar));
}

std::vector<DepthPolicy> parse_policies(std::string_view text) {
  std::vector<DepthPolicy> policies;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    std::size_t end = std::min(text.find(',', begin), text.size());
    // A policy starts with a letter: a comma before a digit is inside a list of layers.
    while (end + 1 < text.size() && text[end + 1] >= '0' && text[end + 1] <= '9') {
      end = std::min(text.find(',', end + 1), text.size());
    }
    policies.push_back(parse_policy(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return policies;
}

std::string to_string(const DepthPolicy& policy) {
  return std::visit(
      Overloaded{
          [](const FullDepth&) { return std::string("full"); },
          [](const FirstLayers& p) { return fmt::format("first:{}", p.cost); },
          [](const UniformLayers& p) { return fmt::format("uniform:{}", p.cost); },
          [](const RandomLayers& p) { return fmt::format("random:{}", p.cost); },
          [](const RandomFreeLayers& p) { return fmt::format("random-free:{}", p.cost); },
          [](const BlockDropped& p) { return fmt::format("block:{}", p.cost); },
          [](const ListedLayers& p) { return fmt::format("layers:{}", layer_list(p.layers)); },
          [](const RankedLayers& p) { return fmt::format("ranked:{}", p.cost); },
          [](const ConfidenceExit& p) { return fmt::format("confidence:{}", p.threshold); },
          [](const ControlledLayers& p) { return "controller:" + p.file; },
      },
      policy);
}

Route resolve(const DepthPolicy& policy, std::int32_t depth, std::uint64_t seed,
              std::uint64_t sequence, const std::optional<Ranking>& ranking) {
  try {
    return std::visit(
        Overloaded{
            [&](const FullDepth&) { return Route::full(depth); },
            [&](const FirstLayers& p) { return Route::first(p.cost, depth); },
            [&](const UniformLayers& p) { return Route::uniform(p.cost, depth); },
            [&](const RandomLayers& p) { return Route::random(p.cost, depth, seed, sequence); },
            [&](const RandomFreeLayers& p) {
              return Route::random_free(p.cost, depth, seed, sequence);
            },
            [&](const BlockDropped& p) { return Route::block(p.cost, depth); },
            [&](const ListedLayers& p) { return Route::of(p.layers, depth); },
            [&](const RankedLayers& p) { return ranked_route(p.cost, depth, ranking); },
            [](const ConfidenceExit&) -> Route {
              throw InputError(
                  "each token leaves where it is sure enough, so there is no fixed route, which is "
                  "needed here");
            },
            [](const ControlledLayers&) -> Route {
              throw InputError(
                  "each token chooses its layers, so there is no fixed route, which is needed "
                  "here");
            },
        },
        policy);
  } catch (const InputError& error) {
    refuse(to_string(policy), error.what());
  }
}

std::unique_ptr<const Selector> make_selector(const DepthPolicy& policy, std::int32_t depth,
                                              std::uint64_t seed, std::uint64_t sequence,
                                              const std::optional<Ranking>& ranking,
                                              const LoadedControllers& controllers) {
  if (const auto* const exit = std::get_if<ConfidenceExit>(&policy)) {
    return std::make_unique<ConfidenceSelector>(exit->threshold);
  }
  if (const std::string* const file = controller_file(policy)) {
    const auto found = controllers.by_file.find(*file);
    if (found == controllers.by_file.end()) {
      refuse(to_string(policy), "skip controllers are not taken here");
    }
    if (found->second->depth() != depth) {
      refuse(to_string(policy), fmt::format("the controllers are of a model of {} layers; this one "
                                            "has {}",
                                            found->second->depth(), depth));
    }
    return std::make_unique<ControllerSelector>(found->second, controllers.rule, seed, sequence);
  }
  return std::make_unique<RouteSelector>(resolve(policy, depth, seed, sequence, ranking));
}

bool has_fixed_route(const DepthPolicy& policy) {
  return !std::holds_alternative<ConfidenceExit>(policy) && controller_file(policy) == nullptr;
}

bool needs_ranking(const DepthPolicy& policy) {
  return std::holds_alternative<RankedLayers>(policy);
}

const std::string* controller_file(const DepthPolicy& policy) {
  const auto* const controlled = std::get_if<ControlledLayers>(&policy);
  return controlled != nullptr ? &controlled->file : nullptr;
}

}  // namespace fathom
