#include "study/forced_response.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "depth/selector.h"
#include "generate/sampler.h"
#include "metrics/cosine.h"
#include "metrics/mean_error.h"
#include "model/softmax.h"
#include "study/layer_search.h"

namespace fathom {
namespace {

// Rows whose logits are held at once: bounds them to a few dozen vocabularies of float32.
constexpr std::size_t rows_per_head = 64;

// Rows of one forward pass: bounds the memory for activations.
constexpr std::size_t rows_per_pass = 2048;

// Routes that are followed at once: bounds the memory for hidden states.
constexpr std::size_t routes_together = 256;

// The states of all layers, of a step by itself.
class AllLayers final : public HiddenStateSink {
 public:
  void entering(std::size_t /*step*/, const LayerRows& rows) override { add(rows); }
  void layer_output(std::size_t /*step*/, LayerIndex /*layer*/, const LayerRows& rows) override {
    add(rows);
  }
  [[nodiscard]] std::vector<std::shared_ptr<const std::vector<float>>> take() && {
    return std::move(states_);
  }

 private:
  void add(const LayerRows& rows) {
    states_.push_back(
        std::make_shared<const std::vector<float>>(rows.hidden.begin(), rows.hidden.end()));
  }
  std::vector<std::shared_ptr<const std::vector<float>>> states_;
};

// What leaves one layer, for each step.
class OneLayer final : public HiddenStateSink {
 public:
  OneLayer(LayerIndex layer, std::size_t steps) : layer_(layer), states_(steps) {}
  void entering(std::size_t /*step*/, const LayerRows& /*rows*/) override {}
  void layer_output(std::size_t step, LayerIndex layer, const LayerRows& rows) override {
    if (layer != layer_) return;
    states_[step] =
        std::make_shared<const std::vector<float>>(rows.hidden.begin(), rows.hidden.end());
  }
  [[nodiscard]] const std::shared_ptr<const std::vector<float>>& of(std::size_t step) const {
    return states_[step];
  }

 private:
  LayerIndex layer_;
  std::vector<std::shared_ptr<const std::vector<float>>> states_;
};

// The sum of p (a - b) over a vocabulary. Eight sums side by side, so that they can be one vector.
double weighted_difference(const float* p, const float* a, const float* b, std::size_t size) {
  constexpr std::size_t lanes = 8;
  std::array<double, lanes> sums{};
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    for (std::size_t j = 0; j < lanes; ++j) {
      sums[j] += static_cast<double>(p[i + j]) * (static_cast<double>(a[i + j]) - b[i + j]);
    }
  }
  for (; i < size; ++i) sums[0] += static_cast<double>(p[i]) * (static_cast<double>(a[i]) - b[i]);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

// Routes that have been alike so far: [begin, end) of the sorted ones.
struct ForcedResponse::Prefix {
  std::size_t begin = 0, end = 0;
  States states;
  bool full = true;  // it has run every layer
};

ForcedResponse::ForcedResponse(LanguageModel& model, ThreadTeam& team, const KvCache& prompt,
                               std::span<const float> prompt_logits,
                               std::span<const TokenId> response)
    : model_(model), team_(team), prompt_(prompt), response_(response.begin(), response.end()) {
  if (response.size() < 2) {
    throw InputError(
        fmt::format("the response has {} tokens; routed passes predict all but the "
                    "first, so it takes two",
                    response.size()));
  }
  const std::size_t room = prompt.capacity() - prompt.length();
  if (positions() > room) {
    throw InputError(fmt::format("the response has {} tokens; the context has room for {} more",
                                 response.size(), room + 1));
  }
  first_nll_ = log_sum_exp(prompt_logits) - prompt_logits[response[0].index()];
  const std::unique_ptr<KvCache> cache = prompt.fork();
  const RouteSelector all(Route::full(model.config().depth()));
  const SequenceStep step{.cache = cache.get(),
                          .tokens = std::span(response_).first(positions()),
                          .role = RowRole::routed,
                          .selector = &all,
                          .logits = LogitRows::none};
  AllLayers sink;
  model_.forward(std::span(&step, 1), output_, &sink);
  full_ = std::move(sink).take();
  const std::size_t width = model_.config().width;
  for (std::size_t l = 0; l + 1 < full_.size(); ++l) {
    double sum = 0;
    for (std::size_t t = 0; t < positions(); ++t) {
      sum += cosine_similarity(std::span(*full_[l]).subspan(t * width, width),
                               std::span(*full_[l + 1]).subspan(t * width, width));
    }
    influence_.push_back(1 - sum / static_cast<double>(positions()));
  }
}

// Runs a layer for those of the prefixes, a sequence each.
void ForcedResponse::run_layer(LayerIndex layer, std::vector<Prefix>& prefixes,
                               std::span<const std::size_t> running) {
  const std::vector<LayerIndex> one{layer};
  const RouteSelector selector(Route::of(one, model_.config().depth()));
  const std::size_t steps_per_pass = std::max<std::size_t>(1, rows_per_pass / positions());
  for (std::size_t begin = 0; begin < running.size(); begin += steps_per_pass) {
    const auto these = running.subspan(begin, std::min(steps_per_pass, running.size() - begin));
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<SequenceStep> steps;
    for (const std::size_t p : these) {
      // Layers only read their own keys and values, so each pass begins from the prompt's.
      caches.push_back(prompt_.fork());
      steps.push_back({.cache = caches.back().get(),
                       .tokens = std::span(response_).first(positions()),
                       .role = RowRole::routed,
                       .selector = &selector,
                       .entering = EnteringStates{layer, *prefixes[p].states},
                       .logits = LogitRows::none});
    }
    OneLayer sink(layer, steps.size());
    model_.forward(steps, output_, &sink);
    for (std::size_t i = 0; i < these.size(); ++i) prefixes[these[i]].states = sink.of(i);
  }
}

// The states after the last layer on each route.
std::vector<ForcedResponse::States> ForcedResponse::final_states(std::span<const Route> routes) {
  // What has been the full model so far is there already, unless the model sets that apart.
  const bool shared = !model_.sets_full_depth_apart();
  const auto is_full = [&](std::size_t r) { return routes[r].cost() == routes[r].depth(); };
  std::vector<std::size_t> order;
  for (std::size_t r = 0; r < routes.size(); ++r) {
    if (shared || !is_full(r)) order.push_back(r);
  }
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return runs_earlier(routes[a], routes[b]); });
  std::vector<Prefix> prefixes{
      {.begin = 0, .end = order.size(), .states = full_[0], .full = shared}};
  for (LayerIndex layer{0}; layer.value < model_.config().depth(); ++layer) {
    std::vector<Prefix> next;
    std::vector<std::size_t> running;
    for (const Prefix& prefix : prefixes) {
      const auto first = order.begin() + static_cast<std::ptrdiff_t>(prefix.begin);
      const auto last = order.begin() + static_cast<std::ptrdiff_t>(prefix.end);
      const auto split =
          std::find_if(first, last, [&](std::size_t r) { return !routes[r].runs(layer); });
      const auto skipping = static_cast<std::size_t>(split - order.begin());
      if (skipping > prefix.begin) {
        if (!prefix.full) running.push_back(next.size());
        next.push_back({.begin = prefix.begin,
                        .end = skipping,
                        .states = prefix.full ? full_[layer.index() + 1] : prefix.states,
                        .full = prefix.full});
      }
      if (skipping < prefix.end) {
        next.push_back(
            {.begin = skipping, .end = prefix.end, .states = prefix.states, .full = false});
      }
    }
    prefixes = std::move(next);
    run_layer(layer, prefixes, running);
  }
  std::vector<States> states(routes.size(), full_.back());
  for (const Prefix& prefix : prefixes) {
    for (std::size_t i = prefix.begin; i < prefix.end; ++i) states[order[i]] = prefix.states;
  }
  return states;
}

// Logits of positions from `begin` on, [count][vocabulary].
std::span<const float> ForcedResponse::head(const States& states, std::size_t begin,
                                            std::size_t count) {
  const std::size_t width = model_.config().width;
  model_.head(std::span(*states).subspan(begin * width, count * width), output_);
  return output_.logits.span().first(count * output_.vocabulary);
}

std::vector<double> ForcedResponse::nll(std::span<const Route> routes) {
  std::vector<double> result;
  const std::size_t width = model_.config().width;
  std::vector<float> rows;
  for (std::size_t begin = 0; begin < routes.size(); begin += routes_together) {
    const std::span<const Route> these =
        routes.subspan(begin, std::min(routes_together, routes.size() - begin));
    const std::vector<States> states = final_states(these);
    // All routes' positions one after the other, in passes of the head of equal size.
    const std::size_t count = these.size() * positions();
    std::vector<double> nll(count);
    for (std::size_t row = 0; row < count; row += rows_per_head) {
      const std::size_t together = std::min(rows_per_head, count - row);
      rows.resize(together * width);
      for (std::size_t i = 0; i < together; ++i) {
        const std::vector<float>& of_route = *states[(row + i) / positions()];
        std::copy_n(of_route.begin() + static_cast<std::ptrdiff_t>((row + i) % positions() * width),
                    width, rows.begin() + static_cast<std::ptrdiff_t>(i * width));
      }
      model_.head(rows, output_);
      team_.run_shares(together, 1, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) {
          const std::span<const float> logits = output_.logit_row(i).values;
          const TokenId next = response_[(row + i) % positions() + 1];
          nll[row + i] = log_sum_exp(logits) - logits[next.index()];
        }
      });
    }
    for (std::size_t r = 0; r < these.size(); ++r) {
      const auto first = nll.begin() + static_cast<std::ptrdiff_t>(r * positions());
      const double sum =
          std::accumulate(first, first + static_cast<std::ptrdiff_t>(positions()), first_nll_);
      result.push_back(sum / static_cast<double>(response_.size()));
    }
  }
  return result;
}

std::vector<RouteEffect> ForcedResponse::effects(std::span<const Route> routes) {
  const std::size_t width = model_.config().width;
  std::vector<RouteEffect> result(routes.size());
  std::vector<float> full_logits;
  std::vector<float> full_probabilities;
  std::vector<double> full_totals(rows_per_head);
  for (std::size_t begin = 0; begin < routes.size(); begin += routes_together) {
    const std::span<const Route> these =
        routes.subspan(begin, std::min(routes_together, routes.size() - begin));
    const std::vector<States> states = final_states(these);
    std::vector<std::vector<double>> nll(these.size(), std::vector<double>(positions()));
    auto divergence = nll;
    auto similarity = nll;
    for (std::size_t row = 0; row < positions(); row += rows_per_head) {
      const std::size_t together = std::min(rows_per_head, positions() - row);
      const std::span<const float> logits = head(full_.back(), row, together);
      const std::size_t vocabulary = output_.vocabulary;
      full_logits.assign(logits.begin(), logits.end());
      full_probabilities.resize(full_logits.size());
      team_.run_shares(together, 1, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) {
          const auto of_row = std::span(full_logits).subspan(i * vocabulary, vocabulary);
          full_totals[i] = log_sum_exp(of_row);
          for (std::size_t v = 0; v < vocabulary; ++v) {
            full_probabilities[i * vocabulary + v] =
                static_cast<float>(std::exp(of_row[v] - full_totals[i]));
          }
        }
      });
      for (std::size_t r = 0; r < these.size(); ++r) {
        const float* const routed = head(states[r], row, together).data();
        team_.run_shares(together, 1, [&](std::size_t first, std::size_t last) {
          for (std::size_t i = first; i < last; ++i) {
            const std::size_t offset = i * vocabulary;
            const double total = log_sum_exp(std::span(routed + offset, vocabulary));
            nll[r][row + i] = total - routed[offset + response_[row + i + 1].index()];
            divergence[r][row + i] =
                weighted_difference(full_probabilities.data() + offset, full_logits.data() + offset,
                                    routed + offset, vocabulary) +
                total - full_totals[i];
            const std::size_t state = (row + i) * width;
            similarity[r][row + i] =
                cosine_similarity(std::span(*full_.back()).subspan(state, width),
                                  std::span(*states[r]).subspan(state, width));
          }
        });
      }
    }
    for (std::size_t r = 0; r < these.size(); ++r) {
      result[begin + r] = {.nll = std::accumulate(nll[r].begin(), nll[r].end(), first_nll_) /
                                  static_cast<double>(response_.size()),
                           .divergence = mean_of(divergence[r]),
                           .similarity = mean_of(similarity[r])};
    }
  }
  return result;
}

}  // namespace fathom
