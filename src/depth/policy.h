#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/strong_types.h"
#include "depth/ranking.h"
#include "depth/route.h"
#include "depth/selector.h"

namespace fathom {

/// A depth policy: how the layers of a sequence's generated tokens are chosen. The grammar is the
/// same on the command line, in requests and in reports (docs/depth.md):
///   full | first:K | uniform:K | random:K | random-free:K | block:K |
///   layers:1,3,5-9 | ranked:K | confidence:T | controller:FILE | router:FILE@BUDGET
struct FullDepth {
  friend bool operator==(const FullDepth&, const FullDepth&) = default;
};
struct FirstLayers {
  std::int32_t cost;
  friend bool operator==(const FirstLayers&, const FirstLayers&) = default;
};
struct UniformLayers {
  std::int32_t cost;
  friend bool operator==(const UniformLayers&, const UniformLayers&) = default;
};
struct RandomLayers {
  std::int32_t cost;
  friend bool operator==(const RandomLayers&, const RandomLayers&) = default;
};
struct RandomFreeLayers {
  std::int32_t cost;
  friend bool operator==(const RandomFreeLayers&, const RandomFreeLayers&) = default;
};
struct BlockDropped {
  std::int32_t cost;
  friend bool operator==(const BlockDropped&, const BlockDropped&) = default;
};
struct ListedLayers {
  std::vector<LayerIndex> layers;  ///< ascending, without repeats
  friend bool operator==(const ListedLayers&, const ListedLayers&) = default;
};
struct RankedLayers {
  std::int32_t cost;
  friend bool operator==(const RankedLayers&, const RankedLayers&) = default;
};

/// Each token leaves once the head is sure enough of its state: see ConfidenceSelector.
struct ConfidenceExit {
  double threshold;  ///< above 0, at most 1
  friend bool operator==(const ConfidenceExit&, const ConfidenceExit&) = default;
};

using DepthPolicy =
    std::variant<FullDepth, FirstLayers, UniformLayers, RandomLayers, RandomFreeLayers,
                 BlockDropped, ListedLayers, RankedLayers, ConfidenceExit>;

/// Reads a policy. Throws InputError that quotes the text and says what was expected; also for
/// policies of the grammar that this version does not run yet (controller, router).
DepthPolicy parse_policy(std::string_view text);

/// Reads a comma-separated list of policies. The numbers of a layers: policy stay with it:
/// "full,layers:1,3,5-9,first:4" is three policies.
std::vector<DepthPolicy> parse_policies(std::string_view text);

/// The text that parse_policy reads back.
std::string to_string(const DepthPolicy& policy);

/// The route of a sequence under a policy, for a model of `depth` layers. `seed` and `sequence` key
/// the random policies, `ranking` is the model's, for those that need it. Throws InputError naming
/// the policy if it does not fit the depth or the ranking, needs one and there is none, or has no
/// route since each token chooses for itself.
Route resolve(const DepthPolicy& policy, std::int32_t depth, std::uint64_t seed,
              std::uint64_t sequence, const std::optional<Ranking>& ranking = std::nullopt);

/// The selector of a sequence under a policy, also one without a fixed route. Otherwise as
/// resolve().
std::unique_ptr<const Selector> make_selector(const DepthPolicy& policy, std::int32_t depth,
                                              std::uint64_t seed, std::uint64_t sequence,
                                              const std::optional<Ranking>& ranking = std::nullopt);

/// Whether resolve() has a route for it: all tokens of a sequence run the same layers.
bool has_fixed_route(const DepthPolicy& policy);

/// Whether resolve() wants a ranking for it.
bool needs_ranking(const DepthPolicy& policy);

}  // namespace fathom
