#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/strong_types.h"
#include "depth/route.h"
#include "model/language_model.h"

namespace fathom {

/// How close a routed model stays to the full one on one response of T tokens [Glavas24 3.1].
/// Similarities are cosines of hidden states, averaged over the positions where y_1..y_T are the
/// inputs; the state of a skipped layer is its input.
struct RouteSimilarity {
  std::vector<double> layers;  ///< [L] cosine of h^l, before any final norm
  double final_normed = 0;     ///< cosine of h^L after the final norm
  std::vector<double> nll;     ///< [T] of each response token, in nats; y_1 costs no routed pass

  /// Of h^L, the state that predicts the next token.
  [[nodiscard]] double final() const { return layers.back(); }
  /// Mean over h^1..h^(L-1), the states that fill the KV cache. 1 if there is one layer only.
  [[nodiscard]] double intermediate() const;
};

/// One response, teacher-forced through the full model and then through any number of routes, each
/// after the same prompt at full depth. Layers that a route has in common with the one measured
/// before it, from the first on, are not run again; so ascending order of `shares_most` is best.
class ResponseSimilarity {
 public:
  /// Runs the full model over the response. `prompt` holds the prompt and predicts the first
  /// response token with `prompt_logits`; it is not changed, and it and `model` must outlive this.
  /// Throws InputError if the response is empty or does not fit into the cache.
  ResponseSimilarity(LanguageModel& model, const KvCache& prompt,
                     std::span<const float> prompt_logits, std::span<const TokenId> response);
  ~ResponseSimilarity();
  ResponseSimilarity(const ResponseSimilarity&) = delete;
  ResponseSimilarity& operator=(const ResponseSimilarity&) = delete;

  /// Of the full model against itself: all similarities are 1.
  [[nodiscard]] const RouteSimilarity& full() const { return full_; }
  [[nodiscard]] RouteSimilarity measure(const Route& route);

 private:
  class States;

  [[nodiscard]] std::vector<double> response_nll(std::span<const float> last);
  void run_from(std::size_t layer, const Route& route);
  [[nodiscard]] double mean_cosine(std::span<const float> a, std::span<const float> b) const;

  LanguageModel& model_;
  const KvCache& prompt_;
  std::vector<TokenId> response_;
  double first_nll_;
  std::unique_ptr<States> reference_;  // of the full model
  std::unique_ptr<States> states_;     // of the route run last
  Route last_;
  std::vector<float> reference_normed_, normed_;
  ForwardOutput output_;
  RouteSimilarity full_;
};

/// Orders routes so that each shares as many of its first layers as can be with the one before it.
bool shares_most(const Route& a, const Route& b);

}  // namespace fathom
