#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/stopwatch.h"
#include "base/strong_types.h"
#include "depth/selector.h"
#include "generate/sampler.h"
#include "generate/stop_strings.h"
#include "model/language_model.h"
#include "text/tokenizer.h"

namespace fathom {

/// How many prompt tokens go into one forward pass. It bounds the memory for activations; the
/// result does not depend on it.
inline constexpr std::size_t default_prefill_chunk = 256;

struct GenerateOptions {
  std::size_t max_new_tokens = 256;
  SamplingOptions sampling;
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;  ///< keys the draws (see sequence_key)
  std::vector<TokenId> end_tokens;
  std::vector<std::string> stop_strings;
  std::size_t logprobs = 0;  ///< how many alternatives to report for each token
};

enum class StopReason { end_token, stop_string, max_new_tokens, context, interrupted };
std::string_view name(StopReason reason);

struct GeneratedToken {
  TokenId token;
  std::optional<double> logprob;           ///< of the chosen token, if alternatives were asked for
  std::vector<TokenLogprob> alternatives;  ///< likeliest first
};

struct Generation {
  std::vector<GeneratedToken> tokens;  ///< the end token included, if it came
  std::string text;                    ///< without the end token and from before any stop string
  StopReason reason = StopReason::max_new_tokens;
  std::size_t prefilled = 0;      ///< prompt tokens that were to be run
  std::size_t routed_passes = 0;  ///< one fewer than the tokens: the prompt pass predicts the first
  std::uint64_t layers_run = 0;   ///< summed over the routed passes
  double prefill_seconds = 0;
  double decode_seconds = 0;  ///< from choosing the first token to the end

  /// Layers a token: over the routed passes, none if there was none [Glavas24 section 2].
  [[nodiscard]] std::optional<double> mean_layers() const;
};

/// Gets text as it becomes certain.
using TextSink = std::function<void(std::string_view)>;

/// The step that runs the first `chunk` tokens of what is left of a prompt, or all if they are
/// fewer. Its last row gets logits if the prompt ends with it.
SequenceStep prompt_step(KvCache& cache, std::span<const TokenId> left, std::size_t chunk);

/// Throws InputError if the cache has no room for that many more prompt tokens.
void check_prompt_fits(const KvCache& cache, std::size_t tokens);

/// One prompt on the way to its answer, less the forward passes: it says which step comes next and
/// takes what that gave. So one sequence can be run alone or among others.
class OngoingGeneration {
 public:
  /// See generate() for the arguments, all of which but the options must outlive this, and for what
  /// it throws.
  OngoingGeneration(KvCache& cache, const Tokenizer& tokenizer, std::span<const TokenId> prompt,
                    const Selector& selector, const GenerateOptions& options, TextSink on_text);

  [[nodiscard]] bool finished() const { return finished_; }
  /// Prompt tokens that have not been run.
  [[nodiscard]] std::size_t prompt_left() const;
  /// The step that comes next, while this is not finished: up to `chunk` prompt tokens, or the last
  /// new token, routed. It refers to this until take().
  [[nodiscard]] SequenceStep next_step(std::size_t chunk) const;
  /// What the step gave: the logits of its last row, nothing if it asked for none, and the layers
  /// that were run. Generations of different sequences may take from different threads.
  void take(const LogitRow& logits, std::uint64_t layers_run);
  /// Finishes with what there is.
  void interrupt() { finish(StopReason::interrupted); }
  /// Once finished.
  [[nodiscard]] Generation result() && { return std::move(result_); }

 private:
  void choose(const LogitRow& logits);
  void emit(const std::string& text);
  void finish(StopReason reason);

  KvCache& cache_;
  const Tokenizer& tokenizer_;
  const Selector& selector_;
  GenerateOptions options_;
  TextSink on_text_;
  Sampler sampler_;
  StopStrings stop_strings_;
  StreamDecoder decoder_;
  std::size_t prompt_length_;
  std::vector<TokenId> sequence_;  // the prompt, then the new tokens
  Generation result_;
  bool finished_ = false;
  Stopwatch watch_;  // of the prompt pass, then of decoding
};

}  // namespace fathom
