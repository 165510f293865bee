#pragma once

#include <atomic>
#include <cstddef>
#include <span>

#include "base/strong_types.h"
#include "depth/selector.h"
#include "generate/generation.h"
#include "model/language_model.h"
#include "text/tokenizer.h"

namespace fathom {

/// Set from outside, for instance by a signal handler, to end long work early.
using StopFlag = std::atomic<bool>;

/// Appends prompt tokens to a cache, in chunks. `output` gets the logits of the last one. Returns
/// false if `stop` was set before the end.
bool prefill(LanguageModel& model, KvCache& cache, std::span<const TokenId> tokens,
             std::size_t chunk, ForwardOutput& output, const StopFlag& stop);

/// Answers a prompt, of which the cache may hold a beginning: its first length() tokens, valid in
/// every layer. The rest runs all layers and predicts the first new token; each further one is a
/// pass over the layers that `selector` chooses. `on_text` gets the text as it becomes certain.
/// Throws InputError if nothing of the prompt is left to run or it does not fit into the cache.
Generation generate(LanguageModel& model, KvCache& cache, const Tokenizer& tokenizer,
                    std::span<const TokenId> prompt, const Selector& selector,
                    const GenerateOptions& options, const StopFlag& stop, const TextSink& on_text);

}  // namespace fathom
