#include "generate/teacher_forcing.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "model/softmax.h"

namespace fathom {
namespace {

// Rows with logits in one pass: bounds them to a few dozen vocabularies of float32.
constexpr std::size_t rows_per_pass = 64;

}  // namespace

ScoredResponse response_nll(LanguageModel& model, const KvCache& prompt_cache,
                            std::span<const float> prompt_logits, std::span<const TokenId> response,
                            const Selector& selector, const StopFlag& stop) {
  if (response.empty()) throw InputError("the response has no tokens");
  const std::size_t room = prompt_cache.capacity() - prompt_cache.length();
  if (response.size() - 1 > room) {
    throw InputError(fmt::format("the response has {} tokens; the context has room for {} more",
                                 response.size(), room + 1));
  }
  const auto nll = [](std::span<const float> logits, TokenId token) {
    return log_sum_exp(logits) - logits[token.index()];
  };
  ScoredResponse result{.nll = {nll(prompt_logits, response[0])}};
  const std::unique_ptr<KvCache> cache = prompt_cache.fork();
  // The last response token predicts nothing that is asked for.
  const std::span<const TokenId> inputs = response.first(response.size() - 1);
  ForwardOutput output;
  for (std::size_t begin = 0; begin < inputs.size(); begin += rows_per_pass) {
    if (stop.load(std::memory_order_relaxed)) return {};
    const std::size_t count = std::min(rows_per_pass, inputs.size() - begin);
    const SequenceStep step{.cache = cache.get(),
                            .tokens = inputs.subspan(begin, count),
                            .role = RowRole::routed,
                            .selector = &selector,
                            .logits = LogitRows::all};
    model.forward(std::span(&step, 1), output, nullptr);
    result.layers_run += output.layers_run[0];
    for (std::size_t i = 0; i < count; ++i) {
      result.nll.push_back(nll(output.logit_row(i).values, response[begin + i + 1]));
    }
  }
  return result;
}

}  // namespace fathom
