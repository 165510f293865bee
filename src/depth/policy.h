#pragma once

#include <cstdint>
#include <map>
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
#include "depth/skip_controllers.h"

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

/// Each token runs the layers that their skip controllers say: see ControllerSelector.
struct ControlledLayers {
  std::string file;  ///< that the controllers are in
  friend bool operator==(const ControlledLayers&, const ControlledLayers&) = default;
};

using DepthPolicy =
    std::variant<FullDepth, FirstLayers, UniformLayers, RandomLayers, RandomFreeLayers,
                 BlockDropped, ListedLayers, RankedLayers, ConfidenceExit, ControlledLayers>;

/// Reads a policy. Throws InputError that quotes the text and says what was expected; also for
/// policies of the grammar that this version does not run yet (router).
DepthPolicy parse_policy(std::string_view text);

/// Reads a comma-separated list of policies. The numbers of a layers: policy stay with it:
/// "full,layers:1,3,5-9,first:4" is three policies. A file's name ends at a comma.
std::vector<DepthPolicy> parse_policies(std::string_view text);

/// The text that parse_policy reads back.
std::string to_string(const DepthPolicy& policy);

/// The route of a sequence under a policy, for a model of `depth` layers. `seed` and `sequence` key
/// the random policies, `ranking` is the model's, for those that need it. Throws InputError naming
/// the policy if it does not fit the depth or the ranking, needs one and there is none, or has no
/// route since each token chooses for itself.
Route resolve(const DepthPolicy& policy, std::int32_t depth, std::uint64_t seed,
              std::uint64_t sequence, const std::optional<Ranking>& ranking = std::nullopt);

/// Skip controllers that policies name, and how their gates decide.
struct LoadedControllers {
  std::map<std::string, std::shared_ptr<const SkipControllers>> by_file;
  GateRule rule;
};

/// The selector of a sequence under a policy, also one without a fixed route. `seed` and `sequence`
/// key the draws of controllers, too. Otherwise as resolve(); also throws InputError if the
/// policy's controllers are not among the loaded ones or are of another depth.
std::unique_ptr<const Selector> make_selector(const DepthPolicy& policy, std::int32_t depth,
                                              std::uint64_t seed, std::uint64_t sequence,
                                              const std::optional<Ranking>& ranking = std::nullopt,
                                              const LoadedControllers& controllers = {});

/// Whether resolve() has a route for it: all tokens of a sequence run the same layers.
bool has_fixed_route(const DepthPolicy& policy);

/// Whether resolve() wants a ranking for it.
bool needs_ranking(const DepthPolicy& policy);

/// The file of controllers that make_selector() wants for it; nullptr if it wants none.
const std::string* controller_file(const DepthPolicy& policy);

}  // namespace fathom
