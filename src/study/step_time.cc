#include "study/step_time.h"

#include <algorithm>
#include <cstddef>
#include <memory>

#include "base/stopwatch.h"
#include "depth/selector.h"

namespace fathom {
namespace {

// Of a route in a row, the first of which does not count: it finds the caches as another left them.
constexpr std::size_t steps_in_turn = 7;
constexpr int turns = 6;

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::vector<double> step_seconds(LanguageModel& model, std::span<const TokenId> prompt,
                                 std::span<const Route> routes, const StopFlag& stop) {
  const std::size_t context = model.config().context;
  const std::unique_ptr<KvCache> cache =
      model.new_cache(std::min(context, prompt.size() + steps_in_turn));
  ForwardOutput output;
  check_prompt_fits(*cache, prompt.size() + 2);
  if (!prefill(model, *cache, prompt, default_prefill_chunk, output, stop)) return {};
  std::vector<std::vector<double>> seconds(routes.size());
  for (int turn = 0; turn < turns; ++turn) {
    for (std::size_t r = 0; r < routes.size(); ++r) {
      const RouteSelector selector(routes[r]);
      const std::unique_ptr<KvCache> own = cache->fork();
      // Which token does not matter for the time.
      const SequenceStep step{.cache = own.get(),
                              .tokens = prompt.last(1),
                              .role = RowRole::routed,
                              .selector = &selector};
      for (std::size_t s = 0; own->length() < own->capacity(); ++s) {
        if (stop.load(std::memory_order_relaxed)) return {};
        const Stopwatch watch;
        model.forward(std::span(&step, 1), output, nullptr);
        if (s > 0) seconds[r].push_back(watch.seconds());
      }
    }
  }
  std::vector<double> medians;
  for (std::vector<double>& each : seconds) medians.push_back(median(each));
  return medians;
}

}  // namespace fathom
