#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/strong_types.h"
#include "base/thread_team.h"
#include "depth/route.h"
#include "model/language_model.h"

namespace fathom {

/// How far a route takes the model from itself on one response y_1..y_T. The last two are means
/// over the positions whose inputs are y_1..y_(T-1), which are routed.
struct RouteEffect {
  double nll = 0;         ///< mean of the response's tokens, in nats; y_1 costs no routed pass
  double divergence = 0;  ///< Kullback-Leibler, of the full model's predictions from the route's
  double similarity = 0;  ///< cosine of the final hidden state with the full model's
};

/// A response of T tokens, teacher-forced through any number of routes at once, after the same
/// prompt at full depth. At each layer the routes that have begun alike are one sequence, and all
/// sequences that run the layer are one forward pass, so that what routes have in common is
/// computed once and weights are read once for all. What a route gives does not depend on the
/// others, bit for bit (engine/ only).
class ForcedResponse {
 public:
  /// Runs the full model over the response. `prompt` holds the prompt and predicts the first
  /// response token with `prompt_logits`; it is not changed, and it, `model` and `team`, on which
  /// nothing else may run meanwhile, must outlive this. Throws InputError if the response has fewer
  /// than two tokens or does not fit into the cache.
  ForcedResponse(LanguageModel& model, ThreadTeam& team, const KvCache& prompt,
                 std::span<const float> prompt_logits, std::span<const TokenId> response);

  /// [L] 1 - the mean cosine of what enters a layer and what leaves it, in the full model: the
  /// block influence of [Men et al. 2024, ShortGPT].
  [[nodiscard]] const std::vector<double>& block_influence() const { return influence_; }
  /// The mean NLL of the response's tokens on each route.
  [[nodiscard]] std::vector<double> nll(std::span<const Route> routes);
  [[nodiscard]] std::vector<RouteEffect> effects(std::span<const Route> routes);

 private:
  using States = std::shared_ptr<const std::vector<float>>;  // [T-1][width]
  struct Prefix;

  [[nodiscard]] std::vector<States> final_states(std::span<const Route> routes);
  void run_layer(LayerIndex layer, std::vector<Prefix>& prefixes,
                 std::span<const std::size_t> running);
  [[nodiscard]] std::size_t positions() const { return response_.size() - 1; }
  [[nodiscard]] std::span<const float> head(const States& states, std::size_t begin,
                                            std::size_t count);

  LanguageModel& model_;
  ThreadTeam& team_;
  const KvCache& prompt_;
  std::vector<TokenId> response_;
  double first_nll_ = 0;
  std::vector<States> full_;  // [L+1] of the full model: the embeddings, then after each layer
  std::vector<double> influence_;
  ForwardOutput output_;
};

}  // namespace fathom
