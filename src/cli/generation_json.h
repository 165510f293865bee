#pragma once

#include <span>

#include "base/strong_types.h"
#include "cli/json_output.h"
#include "depth/policy.h"
#include "depth/route.h"
#include "generate/generation.h"

namespace fathom {

/// A generation as JSON shows it everywhere (docs/json.md): from "depth" to "mean_layers".
Json to_json(const DepthPolicy& policy, const Route& route, std::span<const TokenId> prompt,
             const Generation& generation);

/// "logprobs": an object for each token.
Json logprobs_json(const Generation& generation);

}  // namespace fathom
