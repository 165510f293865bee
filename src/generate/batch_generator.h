#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/strong_types.h"
#include "base/thread_team.h"
#include "depth/selector.h"
#include "generate/generator.h"
#include "model/language_model.h"
#include "text/tokenizer.h"

namespace fathom {

/// A prompt to be answered among others. What it refers to must outlive the answering.
struct GenerateRequest {
  std::span<const TokenId> prompt;
  const Selector* selector = nullptr;
  GenerateOptions options;
};

/// Answers all requests, up to `batch` of them (at least 1) in each forward pass. A sequence leaves
/// when it is finished and the next one joins: those that may take longest come first, so that few
/// are left alone at the end. Requests that then follow one another and have one prompt share its
/// pass: the cache is forked. Each gets the tokens that generate() would give it, whatever the
/// batch: they must only depend on the logits, the options and the history, and logits do not
/// depend on company.
///
/// `on_finished` gets each request's index and answer as soon as it is there. Where `stop` is set,
/// unfinished answers are dropped and false is returned. Tokens are chosen on `team`, on which
/// nothing else may be running. Throws InputError, before anything is run, if a prompt is empty or
/// longer than the model's context.
bool generate_batch(LanguageModel& model, const Tokenizer& tokenizer, ThreadTeam& team,
                    std::span<const GenerateRequest> requests, std::size_t batch,
                    const StopFlag& stop,
                    const std::function<void(std::size_t request, Generation answer)>& on_finished);

}  // namespace fathom
