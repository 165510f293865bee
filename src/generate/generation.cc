#include "generate/generation.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"
#include "model/softmax.h"

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

SequenceStep prompt_step(KvCache& cache, std::span<const TokenId> left, std::size_t chunk) {
  const std::size_t count = std::min(chunk, left.size());
  return {.cache = &cache,
          .tokens = left.first(count),
          .logits = count == left.size() ? LogitRows::last : LogitRows::none};
}

void check_prompt_fits(const KvCache& cache, std::size_t tokens) {
  const std::size_t room = cache.capacity() - cache.length();
  if (tokens <= room) return;
  throw InputError(
      fmt::format("the prompt has {} tokens; the context has room for {} more", tokens, room));
}

OngoingGeneration::OngoingGeneration(KvCache& cache, const Tokenizer& tokenizer,
                                     std::span<const TokenId> prompt, const Selector& selector,
                                     const GenerateOptions& options, TextSink on_text)
    : cache_(cache),
      tokenizer_(tokenizer),
      selector_(selector),
      options_(options),
      on_text_(std::move(on_text)),
      sampler_(options.sampling),
      stop_strings_(options.stop_strings),
      decoder_(tokenizer),
      prompt_length_(prompt.size()),
      sequence_(prompt.begin(), prompt.end()) {
  if (prompt.size() <= cache.length()) throw InputError("the prompt has no tokens to run");
  check_prompt_fits(cache, prompt_left());
  result_.prefilled = prompt_left();
}

std::size_t OngoingGeneration::prompt_left() const {
  return prompt_length_ - std::min(prompt_length_, cache_.length());
}

SequenceStep OngoingGeneration::next_step(std::size_t chunk) const {
  const std::span<const TokenId> tokens(sequence_);
  if (const std::size_t left = prompt_left(); left > 0) {
    return prompt_step(cache_, tokens.subspan(cache_.length(), left), chunk);
  }
  return {.cache = &cache_,
          .tokens = tokens.last(1),
          .role = RowRole::routed,
          .selector = &selector_,
          .logits = LogitRows::last};
}

void OngoingGeneration::take(const LogitRow& logits, std::uint64_t layers_run) {
  if (prompt_left() > 0) return;
  if (result_.tokens.empty()) {
    result_.prefill_seconds = watch_.seconds();
    watch_ = Stopwatch();
  } else {
    ++result_.routed_passes;
    result_.layers_run += layers_run;
  }
  if (options_.max_new_tokens > 0) choose(logits);
  if (finished_) return;
  if (result_.tokens.size() == options_.max_new_tokens) return finish(StopReason::max_new_tokens);
  if (cache_.length() == cache_.capacity()) finish(StopReason::context);
}

void OngoingGeneration::choose(const LogitRow& logits) {
  const RandomKey key{.seed = options_.seed,
                      .purpose = RandomPurpose::token,
                      .sequence = options_.sequence,
                      .position = static_cast<std::uint32_t>(cache_.length())};
  GeneratedToken chosen{.token = sampler_.sample(logits, sequence_, key),
                        .logprob = std::nullopt,
                        .alternatives = {}};
  if (options_.logprobs > 0) {
    chosen.logprob = logits.values[chosen.token.index()] - log_sum_exp(logits.values);
    chosen.alternatives = most_likely(logits.values, options_.logprobs);
  }
  const TokenId token = chosen.token;
  sequence_.push_back(token);
  result_.tokens.push_back(std::move(chosen));
  const std::vector<TokenId>& ends = options_.end_tokens;
  if (std::find(ends.begin(), ends.end(), token) != ends.end()) {
    return finish(StopReason::end_token);
  }
  // A row of the embedding beyond the vocabulary is padding and has no text.
  if (token.index() < tokenizer_.vocabulary_size()) {
    emit(stop_strings_.push(decoder_.push(token)));
  }
  if (stop_strings_.found()) finish(StopReason::stop_string);
}

void OngoingGeneration::emit(const std::string& text) {
  if (text.empty()) return;
  result_.text += text;
  on_text_(text);
}

void OngoingGeneration::finish(StopReason reason) {
  if (!stop_strings_.found()) {
    emit(stop_strings_.push(decoder_.flush()));
    emit(stop_strings_.flush());
  }
  result_.reason = reason;
  (prompt_left() > 0 ? result_.prefill_seconds : result_.decode_seconds) = watch_.seconds();
  finished_ = true;
}

}  // namespace fathom
