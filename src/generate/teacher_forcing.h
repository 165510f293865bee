#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/strong_types.h"
#include "depth/selector.h"
#include "generate/generator.h"
#include "model/language_model.h"

namespace fathom {

/// The negative log-likelihood (nats) of each token of a given response. `prompt_logits` are those
/// after the prompt's last token, which `prompt_cache` holds and which predict the first response
/// token; the others are predicted by routed rows, whose layers `selector` chooses. The cache is
/// not changed. Throws InputError if the response is empty or does not fit. An empty result means
/// that `stop` was set.
std::vector<double> response_nll(LanguageModel& model, const KvCache& prompt_cache,
                                 std::span<const float> prompt_logits,
                                 std::span<const TokenId> response, const Selector& selector,
                                 const StopFlag& stop);

}  // namespace fathom
