#include "generate/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
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

// Running values side by side: compilers make vector instructions of them, but not of one.
constexpr std::size_t lanes = 16;

// exp(x) for x from -87 to 0, to about two units in the last place; NaN stays NaN. The library's
// takes several times as long over a vocabulary, since it is called for one number at a time.
float exp_nonpositive(float x) {
  // exp(x) = 2^n exp(r), |r| <= ln(2) / 2. Adding 1.5 * 2^23 rounds to an integer, which then
  // stands in the lowest bits.
  constexpr float rounding = 12582912;
  const float shifted = x * 1.44269504F + rounding;
  const float n = shifted - rounding;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln(2) in two parts
  // Taylor's series: the first term left out is below 2^-27 of the result.
  const float p =
      ((((((r * (1.0F / 5040) + 1.0F / 720) * r + 1.0F / 120) * r + 1.0F / 24) * r + 1.0F / 6) * r +
        0.5F) *
           r +
       1) *
          r +
      1;
  const std::int32_t exponent =
      std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(rounding);
  const float power = std::bit_cast<float>((exponent + 127) << 23);
  return p * power;
}

// The first greatest value; NaNs are passed over.
std::size_t argmax(std::span<const float> scores) {
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

  candidates_.clear();
  for (std::size_t id = 0; id < scores.size(); ++id) {
    if (std::isnan(scores[id])) continue;
    candidates_.push_back({scores[id], static_cast<std::int32_t>(id), 0});
  }
  if (options_.top_k && *options_.top_k < candidates_.size()) {
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(*options_.top_k);
    std::nth_element(candidates_.begin(), end, candidates_.end(), likelier);
    candidates_.erase(end, candidates_.end());
    // In order, so that a draw does not depend on how the library selects.
    std::sort(candidates_.begin(), candidates_.end(), likelier);
  }
  double total = 0;
  for (Candidate& candidate : candidates_) {
    candidate.weight = std::exp((candidate.score - scores[best]) / options_.temperature);
    total += candidate.weight;
  }
  if (options_.top_p && *options_.top_p < 1) keep_nucleus(*options_.top_p * total);
  if (options_.min_p) {
    // The likeliest has weight 1.
    std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < *options_.min_p; });
  }
  total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  double draw = RandomStream(key).uniform() * total;
  std::size_t chosen = 0;
  while (chosen + 1 < candidates_.size() && draw >= candidates_[chosen].weight) {
    draw -= candidates_[chosen++].weight;
  }
  return TokenId{candidates_[chosen].id};
}

// Keeps the likeliest candidates that together weigh `wanted`. They are few: sorts no more of the
// vocabulary than it takes.
void Sampler::keep_nucleus(double wanted) {
  std::size_t sorted = 0;
  std::size_t keep = 0;
  double sum = 0;
  while (keep < candidates_.size() && sum < wanted) {
    if (keep == sorted) {
      const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
      sorted = std::min(candidates_.size(), std::max<std::size_t>(64, 2 * sorted));
      std::partial_sort(begin, candidates_.begin() + static_cast<std::ptrdiff_t>(sorted),
                        candidates_.end(), likelier);
    }
    sum += candidates_[keep++].weight;
  }
  candidates_.resize(keep);
}

double log_sum_exp(std::span<const float> logits) {
  const float largest = logits[argmax(logits)];
  constexpr float smallest = -87;  // its exp, 1.6e-38, no longer matters in a sum from 1 on
  // Loops that compilers make vector instructions of.
  std::array<float, 1024> terms;
  double sum = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += terms.size()) {
    const std::size_t count = std::min(terms.size(), logits.size() - begin);
    for (std::size_t i = 0; i < count; ++i) {
      const float difference = logits[begin + i] - largest;
      terms[i] = smallest > difference ? smallest : difference;
    }
    for (std::size_t i = 0; i < count; ++i) terms[i] = exp_nonpositive(terms[i]);
    for (std::size_t i = count; i < terms.size(); ++i) terms[i] = 0;
    std::array<double, 8> sums{};
    for (std::size_t i = 0; i < terms.size(); i += sums.size()) {
      for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += terms[i + k];
    }
    sum += std::accumulate(sums.begin(), sums.end(), 0.0);
  }
  return largest + std::log(sum);
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
