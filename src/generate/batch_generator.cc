#include "generate/batch_generator.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {
namespace {

// The most tokens that a request's sequence can come to.
std::size_t longest(const GenerateRequest& request, std::size_t context) {
  const std::size_t room = context - request.prompt.size();
  return request.prompt.size() + std::min(request.options.max_new_tokens, room);
}

// The requests in the order in which they join: the longest first, equals as given.
std::vector<std::size_t> joining_order(std::span<const GenerateRequest> requests,
                                       std::size_t context) {
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return longest(requests[a], context) > longest(requests[b], context);
  });
  return order;
}

// A sequence of the batch.
struct Member {
  std::size_t request;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<OngoingGeneration> ongoing;  // refers to the cache
};

// The sequences that are being answered.
class Batch {
 public:
  Batch(LanguageModel& model, const Tokenizer& tokenizer, ThreadTeam& team)
      : model_(model), tokenizer_(tokenizer), team_(team) {}

  [[nodiscard]] std::size_t size() const { return members_.size(); }

  void join(std::size_t index, const GenerateRequest& request) {
    auto cache = model_.new_cache(longest(request, model_.config().context));
    auto ongoing =
        std::make_unique<OngoingGeneration>(*cache, tokenizer_, request.prompt, *request.selector,
                                            request.options, [](std::string_view) {});
    members_.push_back({index, std::move(cache), std::move(ongoing)});
  }

  // One forward pass: a token of every sequence that is past its prompt, and the prompts of others
  // as far as a chunk goes. They share the pass, since few rows cost nearly nothing beside many.
  void step() {
    steps_.clear();
    stepping_.clear();
    std::size_t chunk = default_prefill_chunk;
    for (const Member& member : members_) {
      const bool in_prompt = member.ongoing->prompt_left() > 0;
      if (in_prompt && chunk == 0) continue;
      steps_.push_back(member.ongoing->next_step(chunk));
      if (in_prompt) chunk -= steps_.back().tokens.size();
      stepping_.push_back(member.ongoing.get());
    }
    model_.forward(steps_, output_, nullptr);
    logit_rows_.clear();
    std::size_t row = 0;
    for (const SequenceStep& step : steps_) {
      logit_rows_.push_back(step.logits == LogitRows::last ? output_.logit_row(row++) : LogitRow{});
    }
    team_.run_shares(stepping_.size(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        stepping_[i]->take(logit_rows_[i], output_.layers_run[i]);
      }
    });
  }

  template <class OnFinished>
  void leave(const OnFinished& on_finished) {
    for (Member& member : members_) {
      if (!member.ongoing->finished()) continue;
      on_finished(member.request, std::move(*member.ongoing).result());
    }
    std::erase_if(members_, [](const Member& member) { return member.ongoing->finished(); });
  }

 private:
  LanguageModel& model_;
  const Tokenizer& tokenizer_;
  ThreadTeam& team_;
  std::vector<Member> members_;  // in the order in which they joined

  // Of one step, kept so that a decoding loop allocates nothing.
  std::vector<SequenceStep> steps_;
  std::vector<OngoingGeneration*> stepping_;  // for each step
  std::vector<LogitRow> logit_rows_;
  ForwardOutput output_;
};

}  // namespace

bool generate_batch(
    LanguageModel& model, const Tokenizer& tokenizer, ThreadTeam& team,
    std::span<const GenerateRequest> requests, std::size_t batch, const StopFlag& stop,
    const std::function<void(std::size_t request, Generation answer)>& on_finished) {
  const std::size_t context = model.config().context;
  for (const GenerateRequest& request : requests) {
    if (!request.prompt.empty() && request.prompt.size() <= context) continue;
    throw InputError(fmt::format("a prompt has {} tokens; the model takes 1 to {}",
                                 request.prompt.size(), context));
  }
  const std::vector<std::size_t> order = joining_order(requests, context);
  Batch members(model, tokenizer, team);
  auto next = order.begin();
  while (next != order.end() || members.size() > 0) {
    if (stop.load(std::memory_order_relaxed)) return false;
    for (; next != order.end() && members.size() < batch; ++next) {
      members.join(*next, requests[*next]);
    }
    members.step();
    members.leave(on_finished);
  }
  return true;
}

}  // namespace fathom
