#pragma once

#include <span>

#include "base/strong_types.h"
#include "cli/json_output.h"
#include "depth/policy.h"
#include "depth/selector.h"
#include "generate/generation.h"

namespace fathom {

/// The layers that a selector runs, as JSON shows them: null if they are no fixed route.
Json route_json(const Selector& selector);

/// A generation as JSON shows it everywhere (docs/json.md): from "depth" to "mean_layers".
Json to_json(const DepthPolicy& policy, const Selector& selector, std::span<const TokenId> prompt,
             const Generation& generation);

/// "logprobs": an object for each token.
Json logprobs_json(const Generation& generation);

}  // namespace fathom
