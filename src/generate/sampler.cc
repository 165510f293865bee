#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "base/error.h"
#include "model/softmax.h"

namespace fathom {
namespace {

void require(bool ok, std::string_view option, double value, std::string_view range) {
  if (!ok) throw InputError(fmt::format("{} {}: expected {}", option, value, range));
}

// Calls visit(begin, block) for values in blocks.
template <class Visit>
void for_each_block(std::span<const float> values, std::size_t size, const Visit& visit) {
  for (std::size_t begin = 0; begin < values.size(); begin += size) {
    visit(begin, values.subspan(begin, std::min(size, values.size() - begin)));
  }
}

// Of values that are summed up or searched block by block.
constexpr std::size_t block_size = 512;

// The greatest of each logit_block values.
void find_maxima(std::span<const float> values, std::vector<float>& maxima) {
  maxima.clear();
  for_each_block(values, logit_block, [&](std::size_t /*begin*/, std::span<const float> block) {
    maxima.push_back(maximum(block));
  });
}

// The first greatest value; NaNs are passed over.
std::size_t argmax(const LogitRow& scores) {
  const float largest = maximum(scores.maxima);
  const auto block = std::find(scores.maxima.begin(), scores.maxima.end(), largest);
  const auto from = (block - scores.maxima.begin()) * static_cast<std::ptrdiff_t>(logit_block);
  const auto where = block == scores.maxima.end()
                         ? scores.values.end()
                         : std::find(scores.values.begin() + from, scores.values.end(), largest);
  if (where == scores.values.end()) refuse_logits();
  return static_cast<std::size_t>(where - scores.values.begin());
}

// The first of some weights that `left` is within, less those before it. Roundings may leave
// something at the end: then the last that is positive.
template <class Weight>
std::size_t falls_on(std::span<const Weight> weights, double& left) {
  std::size_t last = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    if (left < weights[i]) return i;
    left -= weights[i];
    last = i;
  }
  return last;
}

}  // namespace

bool Sampler::likelier(const Candidate& a, const Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

void SamplingOptions::check() const {
  require(temperature >= 0 && std::isfinite(temperature), "temperature", temperature,
          "0 or a positive number");
  if (top_k) require(*top_k >= 1, "top-k", static_cast<double>(*top_k), "at least 1");
  if (top_p) require(*top_p > 0 && *top_p <= 1, "top-p", *top_p, "a number above 0, up to 1");
  if (min_p) require(*min_p >= 0 && *min_p <= 1, "min-p", *min_p, "a number from 0 to 1");
  require(repetition_penalty > 0 && std::isfinite(repetition_penalty), "repetition penalty",
          repetition_penalty, "a positive number");
}

Sampler::Sampler(SamplingOptions options) : options_(options) { options_.check(); }

TokenId Sampler::sample(const LogitRow& logits, std::span<const TokenId> history,
                        const RandomKey& key) {
  LogitRow scores = logits;
  if (scores.maxima.empty()) {
    find_maxima(scores.values, maxima_);
    scores.maxima = maxima_;
  }
  if (options_.repetition_penalty != 1) scores = penalize(scores, history);
  const std::size_t best = argmax(scores);
  if (options_.temperature == 0) return TokenId{static_cast<std::int32_t>(best)};

  weigh(scores.values, best);
  if (options_.top_k) keep_top_k(scores, *options_.top_k);
  if (options_.top_p && *options_.top_p < 1) keep_nucleus(scores.values, *options_.top_p);
  if (options_.min_p) {
    // The likeliest has weight 1.
    const auto least = static_cast<float>(*options_.min_p);
    for (float& weight : weights_) weight = weight < least ? 0 : weight;
  }
  return TokenId{static_cast<std::int32_t>(draw(key))};
}

// The scores after the repetition penalty, with their maxima.
LogitRow Sampler::penalize(const LogitRow& logits, std::span<const TokenId> history) {
  penalized_.assign(logits.values.begin(), logits.values.end());
  penalized_maxima_.assign(logits.maxima.begin(), logits.maxima.end());
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  for (const TokenId token : history) {
    const float logit = logits.values[token.index()];
    penalized_[token.index()] = logit < 0 ? logit * penalty : logit / penalty;
  }
  const std::span<const float> scores(penalized_);
  for (const TokenId token : history) {
    const std::size_t block = token.index() / logit_block;
    const std::size_t begin = block * logit_block;
    penalized_maxima_[block] =
        maximum(scores.subspan(begin, std::min(logit_block, scores.size() - begin)));
  }
  return {.values = penalized_, .maxima = penalized_maxima_};
}

// weights_ = exp((scores - the best) / temperature), 0 for what is no number.
void Sampler::weigh(std::span<const float> scores, std::size_t best) {
  weights_.resize(scores.size());
  // As a float it must not become 0, by which 0 would be divided.
  const float temperature =
      std::max(static_cast<float>(options_.temperature), std::numeric_limits<float>::min());
  const float largest = scores[best];
  for_each_block(scores, block_size, [&](std::size_t begin, std::span<const float> block) {
    const auto weights = std::span(weights_).subspan(begin, block.size());
    for (std::size_t i = 0; i < block.size(); ++i) weights[i] = (block[i] - largest) / temperature;
    exp_in_place(weights);
    for (float& weight : weights) weight = weight > negligible_exponential ? weight : 0;
  });
  weights_[best] = 1;  // also where it is infinite
}

// Takes the weight from all but the k likeliest.
void Sampler::keep_top_k(const LogitRow& scores, std::size_t k) {
  if (k >= scores.values.size()) return;
  // If k blocks hold a score of at least x, so many tokens have one: only those must be sorted.
  float least = -std::numeric_limits<float>::infinity();
  if (k <= scores.maxima.size()) {
    kth_.assign(scores.maxima.begin(), scores.maxima.end());
    const auto kth = kth_.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(kth_.begin(), kth, kth_.end(), std::greater<>());
    least = *kth;
  }
  candidates_.clear();
  for_each_block(scores.values, logit_block, [&](std::size_t begin, std::span<const float> block) {
    if (scores.maxima[begin / logit_block] < least) return;
    for (std::size_t i = 0; i < block.size(); ++i) {
      const std::size_t id = begin + i;
      if (block[i] >= least) candidates_.push_back({block[i], weights_[id], id});
    }
  });
  if (k < candidates_.size()) {
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(k);
    std::nth_element(candidates_.begin(), end, candidates_.end(), likelier);
    candidates_.erase(end, candidates_.end());
  }
  keep_candidates();
}

// Takes the weight from all but the likeliest tokens that together have `share` of it.
void Sampler::keep_nucleus(std::span<const float> scores, double share) {
  const double total = sum(weights_);
  // All tokens of at most this weight have no more than what is not wanted: they need no sorting.
  const double least = (1 - share) * total / static_cast<double>(weights_.size());
  candidates_.clear();
  for (std::size_t id = 0; id < scores.size(); ++id) {
    if (weights_[id] > least) candidates_.push_back({scores[id], weights_[id], id});
  }
  std::size_t sorted = 0;
  std::size_t keep = 0;
  double kept = 0;
  while (keep < candidates_.size() && kept < share * total) {
    if (keep == sorted) {
      const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
      sorted = std::min(candidates_.size(), std::max<std::size_t>(64, 2 * sorted));
      std::partial_sort(begin, candidates_.begin() + static_cast<std::ptrdiff_t>(sorted),
                        candidates_.end(), likelier);
    }
    kept += candidates_[keep++].weight;
  }
  candidates_.resize(keep);
  keep_candidates();
}

// Takes the weight from all tokens that are no candidates.
void Sampler::keep_candidates() {
  std::fill(weights_.begin(), weights_.end(), 0.0F);
  for (const Candidate& candidate : candidates_) weights_[candidate.id] = candidate.weight;
}

// A token in proportion to the weights.
std::size_t Sampler::draw(const RandomKey& key) {
  const std::span<const float> weights(weights_);
  sums_.clear();
  for_each_block(weights, block_size, [&](std::size_t /*begin*/, std::span<const float> block) {
    sums_.push_back(sum(block));
  });
  double left = RandomStream(key).uniform() * std::accumulate(sums_.begin(), sums_.end(), 0.0);
  const std::size_t begin = falls_on<double>(sums_, left) * block_size;
  const std::size_t count = std::min(block_size, weights.size() - begin);
  return begin + falls_on(weights.subspan(begin, count), left);
}

std::vector<TokenLogprob> most_likely(std::span<const float> logits, std::size_t n) {
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  n = std::min(n, ids.size());
  const auto logit = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      return logit(a) > logit(b) || (logit(a) == logit(b) && a < b);
                    });
  const double total = log_sum_exp(logits);
  std::vector<TokenLogprob> result;
  for (std::size_t i = 0; i < n; ++i) result.push_back({TokenId{ids[i]}, logit(ids[i]) - total});
  return result;
}

}  // namespace fathom
