#include "study/route_similarity.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "base/error.h"
#include "depth/selector.h"
#include "generate/sampler.h"
#include "metrics/cosine.h"
#include "model/softmax.h"

namespace fathom {
namespace {

// Rows whose logits are held at once: bounds them to a few dozen vocabularies of float32.
constexpr std::size_t rows_per_head = 64;

// How many of the first layers two routes treat alike.
std::size_t common_layers(const Route& a, const Route& b) {
  std::int32_t layer = 0;
  while (layer < a.depth() && a.runs(LayerIndex{layer}) == b.runs(LayerIndex{layer})) ++layer;
  return static_cast<std::size_t>(layer);
}

double nll(std::span<const float> logits, TokenId token) {
  return log_sum_exp(logits) - logits[token.index()];
}

}  // namespace

/// The hidden states of the response's positions at every depth.
class ResponseSimilarity::States final : public HiddenStateSink {
 public:
  States(std::size_t layers, std::size_t values) : states_(layers + 1) {
    for (auto& states : states_) states.resize(values);
  }

  void entering(std::size_t /*step*/, const LayerRows& /*rows*/) override {}
  void layer_output(std::size_t /*step*/, LayerIndex layer, const LayerRows& rows) override {
    std::copy(rows.hidden.begin(), rows.hidden.end(), states_[layer.index() + 1].begin());
  }

  /// After the first `layers` layers, [positions][width]. At 0, before the first, nothing is kept.
  [[nodiscard]] std::span<const float> after(std::size_t layers) const { return states_[layers]; }
  [[nodiscard]] std::span<const float> last() const { return states_.back(); }

 private:
  std::vector<std::vector<float>> states_;
};

double RouteSimilarity::intermediate() const {
  if (layers.size() == 1) return 1;
  return std::accumulate(layers.begin(), layers.end() - 1, 0.0) /
         static_cast<double>(layers.size() - 1);
}

ResponseSimilarity::ResponseSimilarity(LanguageModel& model, const KvCache& prompt,
                                       std::span<const float> prompt_logits,
                                       std::span<const TokenId> response)
    : model_(model),
      prompt_(prompt),
      response_(response.begin(), response.end()),
      first_nll_(0),
      last_(Route::full(model.config().depth())) {
  if (response.empty()) throw InputError("the response has no tokens");
  const std::size_t room = prompt.capacity() - prompt.length();
  if (response.size() > room) {
    throw InputError(fmt::format("the response has {} tokens; the context has room for {} more",
                                 response.size(), room));
  }
  first_nll_ = nll(prompt_logits, response[0]);
  const std::size_t layers = model.config().layers;
  const std::size_t values = response.size() * model.config().width;
  states_ = std::make_unique<States>(layers, values);
  (void)run_from(0, last_);
  reference_ = std::make_unique<States>(*states_);
  reference_normed_.resize(values);
  normed_.resize(values);
  model_.final_norm(reference_->last(), reference_normed_);
  full_ = {.layers = std::vector<double>(layers, 1.0),
           .final_normed = 1,
           .nll = response_nll(reference_->last())};
}

ResponseSimilarity::~ResponseSimilarity() = default;

// Runs a route's layers from `layer` on over all positions.
void ResponseSimilarity::run_from(std::size_t layer, const Route& route) {
  const RouteSelector selector(route);
  const std::unique_ptr<KvCache> cache = prompt_.fork();
  SequenceStep step{.cache = cache.get(),
                    .tokens = response_,
                    .role = RowRole::routed,
                    .selector = &selector,
                    .logits = LogitRows::none};
  if (layer > 0) {
    step.entering =
        EnteringStates{LayerIndex{static_cast<std::int32_t>(layer)}, states_->after(layer)};
  }
  model_.forward(std::span(&step, 1), output_, states_.get());
}

std::vector<double> ResponseSimilarity::response_nll(std::span<const float> last) {
  const std::size_t width = model_.config().width;
  std::vector<double> result{first_nll_};
  // The last position predicts nothing that is asked for.
  const std::size_t inputs = response_.size() - 1;
  for (std::size_t begin = 0; begin < inputs; begin += rows_per_head) {
    const std::size_t count = std::min(rows_per_head, inputs - begin);
    model_.head(last.subspan(begin * width, count * width), output_);
    for (std::size_t i = 0; i < count; ++i) {
      result.push_back(nll(output_.logit_row(i).values, response_[begin + i + 1]));
    }
  }
  return result;
}

double ResponseSimilarity::mean_cosine(std::span<const float> a, std::span<const float> b) const {
  const std::size_t width = model_.config().width;
  double sum = 0;
  for (std::size_t t = 0; t < response_.size(); ++t) {
    sum += cosine_similarity(a.subspan(t * width, width), b.subspan(t * width, width));
  }
  return sum / static_cast<double>(response_.size());
}

RouteSimilarity ResponseSimilarity::measure(const Route& route) {
  const std::size_t layers = model_.config().layers;
  const auto is_full = [](const Route& each) { return each.cost() == each.depth(); };
  const auto common = [&](const Route& other) {
    const bool apart = model_.sets_full_depth_apart() && is_full(route) != is_full(other);
    return apart ? std::size_t{0} : common_layers(route, other);
  };
  const std::size_t shared = common(last_);
  if (shared < layers) run_from(shared, route);
  last_ = route;
  RouteSimilarity result;
  // States that the full model has, too, are not compared: their cosine is 1.
  const std::size_t as_full = common(Route::full(route.depth()));
  result.layers.assign(layers, 1.0);
  for (std::size_t l = as_full; l < layers; ++l) {
    result.layers[l] = mean_cosine(reference_->after(l + 1), states_->after(l + 1));
  }
  if (as_full == layers) return full_;
  model_.final_norm(states_->last(), normed_);
  result.final_normed = mean_cosine(reference_normed_, normed_);
  result.nll = response_nll(states_->last());
  return result;
}

bool shares_most(const Route& a, const Route& b) {
  const std::size_t common = common_layers(a, b);
  return common < static_cast<std::size_t>(a.depth()) &&
         a.runs(LayerIndex{static_cast<std::int32_t>(common)});
}

}  // namespace fathom
