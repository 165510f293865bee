#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_types.h"
#include "depth/selector.h"
#include "generate/sampler.h"
#include "model/language_model.h"
#include "text/tokenizer.h"

namespace fathom {

/// How many prompt tokens go into one forward pass. It bounds the memory for activations; the
/// result does not depend on it.
inline constexpr std::size_t default_prefill_chunk = 256;

/// Set from outside, for instance by a signal handler, to end long work early.
using StopFlag = std::atomic<bool>;

/// Appends prompt tokens to a cache, in chunks. `output` gets the logits of the last one. Returns
/// false if `stop` was set before the end.
bool prefill(LanguageModel& model, KvCache& cache, std::span<const TokenId> tokens,
             std::size_t chunk, ForwardOutput& output, const StopFlag& stop);

struct GenerateOptions {
  std::size_t max_new_tokens = 256;
  SamplingOptions sampling;
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;  ///< keys the draws (see sequence_key)
  std::vector<TokenId> end_tokens;
  std::vector<std::string> stop_strings;
  std::size_t logprobs = 0;  ///< how many alternatives to report for each token
  std::size_t prefill_chunk = default_prefill_chunk;
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
  std::size_t prefilled = 0;      ///< prompt tokens that were run
  std::size_t routed_passes = 0;  ///< one fewer than the tokens: the prompt pass predicts the first
  std::uint64_t layers_run = 0;   ///< summed over the routed passes
  double prefill_seconds = 0;
  double decode_seconds = 0;  ///< from choosing the first token to the end

  /// Layers a token: over the routed passes, none if there was none [Glavas24 section 2].
  [[nodiscard]] std::optional<double> mean_layers() const;
};

/// Answers a prompt, of which the cache may hold a beginning: its first length() tokens, valid in
/// every layer. The rest runs all layers and predicts the first new token; each further one is a
/// pass over the layers that `selector` chooses. `on_text` gets the text as it becomes certain.
/// Throws InputError if nothing of the prompt is left to run or it does not fit into the cache.
Generation generate(LanguageModel& model, KvCache& cache, const Tokenizer& tokenizer,
                    std::span<const TokenId> prompt, const Selector& selector,
                    const GenerateOptions& options, const StopFlag& stop,
                    const std::function<void(std::string_view)>& on_text);

}  // namespace fathom
