#include "generate/generator.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error.h"
#include "base/stopwatch.h"
#include "generate/stop_strings.h"

namespace fathom {
std::string_view name(StopReason reason) {
  switch (reason) {
    case StopReason::end_token:
      return "end_token";
    case StopReason::stop_string:
      return "stop_string";
    case StopReason::max_new_tokens:
      return "max_new_tokens";
    case StopReason::context:
      return "context";
    case StopReason::interrupted:
      return "interrupted";
  }
  return "";
}

std::optional<double> Generation::mean_layers() const {
  if (routed_passes == 0) return std::nullopt;
  return static_cast<double>(layers_run) / static_cast<double>(routed_passes);
}

bool prefill(LanguageModel& model, KvCache& cache, std::span<const TokenId> tokens,
             std::size_t chunk, ForwardOutput& output, const StopFlag& stop) {
  if (tokens.size() > cache.capacity() - cache.length()) {
    throw InputError(fmt::format("the prompt has {} tokens; the context has room for {} more",
                                 tokens.size(), cache.capacity() - cache.length()));
  }
  for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
    if (stop.load(std::memory_order_relaxed)) return false;
    const std::size_t count = std::min(chunk, tokens.size() - begin);
    const bool last = begin + count == tokens.size();
    const SequenceStep step{.cache = &cache,
                            .tokens = tokens.subspan(begin, count),
                            .logits = last ? LogitRows::last : LogitRows::none};
    model.forward(std::span(&step, 1), output, nullptr);
  }
  return true;
}

Generation generate(LanguageModel& model, KvCache& cache, const Tokenizer& tokenizer,
                    std::span<const TokenId> prompt, const Selector& selector,
                    const GenerateOptions& options, const StopFlag& stop,
                    const std::function<void(std::string_view)>& on_text) {
  const std::size_t kept = cache.length();
  if (prompt.size() <= kept) throw InputError("the prompt has no tokens to run");
  Sampler sampler(options.sampling);
  StopStrings stop_strings(options.stop_strings);
  StreamDecoder decoder(tokenizer);
  Generation result;
  result.prefilled = prompt.size() - kept;

  const auto emit = [&](const std::string& text) {
    if (text.empty()) return;
    result.text += text;
    on_text(text);
  };

  const Stopwatch prefill_watch;
  ForwardOutput output;
  const bool prefilled =
      prefill(model, cache, prompt.subspan(kept), options.prefill_chunk, output, stop);
  result.prefill_seconds = prefill_watch.seconds();

  const Stopwatch decode_watch;
  std::vector<TokenId> history(prompt.begin(), prompt.end());
  if (!prefilled) {
    result.reason = StopReason::interrupted;
    return result;
  }
  while (result.tokens.size() < options.max_new_tokens) {
    if (!result.tokens.empty()) {
      if (stop.load(std::memory_order_relaxed)) {
        result.reason = StopReason::interrupted;
        break;
      }
      if (cache.length() == cache.capacity()) {
        result.reason = StopReason::context;
        break;
      }
      const std::array input{history.back()};
      const SequenceStep step{.cache = &cache,
                              .tokens = input,
                              .role = RowRole::routed,
                              .selector = &selector,
                              .logits = LogitRows::last};
      model.forward(std::span(&step, 1), output, nullptr);
      ++result.routed_passes;
      result.layers_run += output.layers_run[0];
    }
    const std::span<const float> logits = output.logit_row(0);
    const RandomKey key{.seed = options.seed,
                        .purpose = RandomPurpose::token,
                        .sequence = options.sequence,
                        .position = static_cast<std::uint32_t>(cache.length())};
    GeneratedToken token{
        .token = sampler.sample(logits, history, key), .logprob = std::nullopt, .alternatives = {}};
    if (options.logprobs > 0) {
      token.logprob = logits[token.token.index()] - log_sum_exp(logits);
      token.alternatives = most_likely(logits, options.logprobs);
    }
    history.push_back(token.token);
    result.tokens.push_back(std::move(token));
    if (std::find(options.end_tokens.begin(), options.end_tokens.end(), history.back()) !=
        options.end_tokens.end()) {
      result.reason = StopReason::end_token;
      break;
    }
    // A row of the embedding beyond the vocabulary is padding and has no text.
    if (history.back().index() < tokenizer.vocabulary_size()) {
      emit(stop_strings.push(decoder.push(history.back())));
    }
    if (stop_strings.found()) {
      result.reason = StopReason::stop_string;
      break;
    }
  }
  if (!stop_strings.found()) {
    emit(stop_strings.push(decoder.flush()));
    emit(stop_strings.flush());
  }
  result.decode_seconds = decode_watch.seconds();
  return result;
}

}  // namespace fathom
