#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/strong_types.h"
#include "depth/selector.h"
#include "generate/generator.h"
#include "model/language_model.h"

namespace fathom {

/// What a model finds of a given response.
struct ScoredResponse {
  std::vector<double> nll;       ///< of each token, in nats
  std::uint64_t layers_run = 0;  ///< summed over the routed rows, one fewer than the tokens
};

/// The negative log-likelihood of each token of a given response. `prompt_logits` are those
/// after the prompt's last token, which `prompt_cache` holds and which predict the first response
/// token; the others are predicted by routed rows, whose layers `selector` chooses. The cache is
/// not changed. Throws InputError if the response is empty or does not fit. No NLL means that
/// `stop` was set.
ScoredResponse response_nll(LanguageModel& model, const KvCache& prompt_cache,
                            std::span<const float> prompt_logits, std::span<const TokenId> response,
                            const Selector& selector, const StopFlag& stop);

}  // namespace fathom
