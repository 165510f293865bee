#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "base/strong_types.h"
#include "model/language_model.h"

namespace fathom {

/// How the next token is chosen from logits. As in Hugging Face transformers, the repetition
/// penalty comes first, then temperature, top-k, top-p and min-p.
struct SamplingOptions {
  /// 0 takes the most likely token (the lowest id of equals) and makes the filters irrelevant.
  double temperature = 0;
  std::optional<std::size_t> top_k;  ///< keep the k most likely; at least 1
  std::optional<double> top_p;       ///< keep the most likely that make up p; in (0, 1]
  std::optional<double> min_p;  ///< keep those at least p times as likely as the likeliest; [0, 1]
  double repetition_penalty = 1;  ///< above 1 makes tokens that occurred less likely

  /// Throws InputError that names the option if one is out of its range.
  void check() const;
};

/// Chooses tokens under one set of options.
class Sampler {
 public:
  explicit Sampler(SamplingOptions options);

  /// The next token. Without known maxima all logits are read once more. `history` is the sequence
  /// so far, prompt included; `key` keys the draw. Throws InputError if no logit is a number.
  TokenId sample(const LogitRow& logits, std::span<const TokenId> history, const RandomKey& key);

 private:
  struct Candidate {
    float score;
    float weight;
    std::size_t id;
  };
  static bool likelier(const Candidate& a, const Candidate& b);
  LogitRow penalize(const LogitRow& logits, std::span<const TokenId> history);
  void weigh(std::span<const float> scores, std::size_t best);
  void keep_top_k(const LogitRow& scores, std::size_t k);
  void keep_nucleus(std::span<const float> scores, double share);
  void keep_candidates();
  [[nodiscard]] std::size_t draw(const RandomKey& key);

  SamplingOptions options_;
  std::vector<float> penalized_;         // scores after the repetition penalty
  std::vector<float> penalized_maxima_;  // of their blocks
  std::vector<float> weights_;           // a token's probability is this over the sum of all
  std::vector<Candidate> candidates_;
  std::vector<float> maxima_;  // of blocks of scores
  std::vector<float> kth_;     // some of them, the greatest first
  std::vector<double> sums_;   // of blocks of weights
};

struct TokenLogprob {
  TokenId token;
  double logprob;  ///< natural logarithm of the probability
};

/// The n most likely tokens under the plain softmax of the logits, likeliest first (lower ids first
/// among equals).
std::vector<TokenLogprob> most_likely(std::span<const float> logits, std::size_t n);

}  // namespace fathom
