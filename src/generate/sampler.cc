#include "generate/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_set>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {
namespace {

void require(bool ok, std::string_view option, double value, std::string_view range) {
  if (!ok) throw InputError(fmt::format("{} {}: expected {}", option, value, range));
}

// Whether token a goes before token b: likelier first, then the lower id.
auto likelier(std::span<const float> scores) {
  return [scores](std::int32_t a, std::int32_t b) {
    const float x = scores[static_cast<std::size_t>(a)];
    const float y = scores[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
}

// The first greatest value; NaNs are passed over. Sixteen running maxima, since compilers make
// vector instructions of them but not of one.
std::size_t argmax(std::span<const float> scores) {
  constexpr std::size_t lanes = 16;
  std::array<float, lanes> maxima;
  maxima.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= scores.size(); i += lanes) {
    for (std::size_t k = 0; k < lanes; ++k) {
      maxima[k] = scores[i + k] > maxima[k] ? scores[i + k] : maxima[k];
    }
  }
  for (; i < scores.size(); ++i) maxima[0] = scores[i] > maxima[0] ? scores[i] : maxima[0];
  const float largest = *std::max_element(maxima.begin(), maxima.end());
  const auto where = std::find(scores.begin(), scores.end(), largest);
  if (where == scores.end())
    throw InputError("the model's logits are no numbers: its weights are damaged");
  return static_cast<std::size_t>(where - scores.begin());
}

}  // namespace

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

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history,
                        const RandomKey& key) {
  std::span<const float> scores = logits;
  if (options_.repetition_penalty != 1) {
    scores_.assign(logits.begin(), logits.end());
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    std::unordered_set<TokenId> seen;
    for (const TokenId token : history) {
      if (!seen.insert(token).second) continue;
      float& score = scores_[token.index()];
      score = score < 0 ? score * penalty : score / penalty;
    }
    scores = scores_;
  }
  const std::size_t best = argmax(scores);
  if (options_.temperature == 0) return TokenId{static_cast<std::int32_t>(best)};

  candidates_.resize(scores.size());
  std::iota(candidates_.begin(), candidates_.end(), 0);
  std::erase_if(candidates_,
                [&](std::int32_t id) { return std::isnan(scores[static_cast<std::size_t>(id)]); });
  const auto order = likelier(scores);
  if (options_.top_k && *options_.top_k < candidates_.size()) {
    const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(*options_.top_k);
    std::nth_element(candidates_.begin(), middle, candidates_.end(), order);
    candidates_.erase(middle, candidates_.end());
  }
  // In order, so that a draw means the same whatever was filtered how.
  std::sort(candidates_.begin(), candidates_.end(), order);
  const double largest = scores[best];
  weights_.clear();
  for (const std::int32_t id : candidates_) {
    weights_.push_back(
        std::exp((scores[static_cast<std::size_t>(id)] - largest) / options_.temperature));
  }
  std::size_t keep = weights_.size();
  if (options_.top_p && *options_.top_p < 1) {
    const double wanted = *options_.top_p * std::accumulate(weights_.begin(), weights_.end(), 0.0);
    double sum = 0;
    keep = 0;
    while (keep < weights_.size() && sum < wanted) sum += weights_[keep++];
  }
  if (options_.min_p) {
    // The likeliest has weight 1.
    while (keep > 1 && weights_[keep - 1] < *options_.min_p) --keep;
  }
  weights_.resize(keep);
  double draw =
      RandomStream(key).uniform() * std::accumulate(weights_.begin(), weights_.end(), 0.0);
  std::size_t chosen = 0;
  while (chosen + 1 < keep && draw >= weights_[chosen]) draw -= weights_[chosen++];
  return TokenId{candidates_[chosen]};
}

double log_sum_exp(std::span<const float> logits) {
  const double largest = logits[argmax(logits)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

std::vector<TokenLogprob> most_likely(std::span<const float> logits, std::size_t n) {
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  n = std::min(n, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end(),
                    likelier(logits));
  const double total = log_sum_exp(logits);
  std::vector<TokenLogprob> result;
  for (std::size_t i = 0; i < n; ++i) {
    result.push_back({TokenId{ids[i]}, logits[static_cast<std::size_t>(ids[i])] - total});
  }
  return result;
}

}  // namespace fathom
