#pragma once

#include <span>
#include <vector>

#include "base/strong_types.h"
#include "depth/route.h"
#include "generate/generator.h"
#include "model/language_model.h"

namespace fathom {

/// What a decoding step takes on each route, in seconds: the median of some dozen steps of one
/// sequence after `prompt`, the routes in turn, so that what else the machine does touches all
/// alike. Empty if `stop` was set before the end. Throws InputError if the prompt does not leave
/// room for two steps.
std::vector<double> step_seconds(LanguageModel& model, std::span<const TokenId> prompt,
                                 std::span<const Route> routes, const StopFlag& stop);

}  // namespace fathom
