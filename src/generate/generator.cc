#include "generate/generator.h"

#include <utility>

namespace fathom {

bool prefill(LanguageModel& model, KvCache& cache, std::span<const TokenId> tokens,
             std::size_t chunk, ForwardOutput& output, const StopFlag& stop) {
  check_prompt_fits(cache, tokens.size());
  while (!tokens.empty()) {
    if (stop.load(std::memory_order_relaxed)) return false;
    const SequenceStep step = prompt_step(cache, tokens, chunk);
    model.forward(std::span(&step, 1), output, nullptr);
    tokens = tokens.subspan(step.tokens.size());
  }
  return true;
}

Generation generate(LanguageModel& model, KvCache& cache, const Tokenizer& tokenizer,
                    std::span<const TokenId> prompt, const Selector& selector,
                    const GenerateOptions& options, const StopFlag& stop, const TextSink& on_text) {
  OngoingGeneration ongoing(cache, tokenizer, prompt, selector, options, on_text);
  ForwardOutput output;
  while (!ongoing.finished()) {
    if (stop.load(std::memory_order_relaxed)) {
      ongoing.interrupt();
      break;
    }
    const SequenceStep step = ongoing.next_step(default_prefill_chunk);
    model.forward(std::span(&step, 1), output, nullptr);
    ongoing.take(output.logit_rows > 0 ? output.logit_row(0) : LogitRow{}, output.layers_run[0]);
  }
  return std::move(ongoing).result();
}

}  // namespace fathom
