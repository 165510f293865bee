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

bool have_one_prompt(const GenerateRequest& a, const GenerateRequest& b) {
  return std::equal(a.prompt.begin(), a.prompt.end(), b.prompt.begin(), b.prompt.end());
}

// A sequence of the batch.
struct Member {
  std::size_t request;
  std::size_t prompt_tokens;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<OngoingGeneration> ongoing;  // refers to the cache
};

// The sequences that are being answered.
class Batch {
 public:
  Batch(LanguageModel& model, const Tokenizer& tokenizer, ThreadTeam& team)
      : model_(model), tokenizer_(tokenizer), team_(team) {}

  [[nodiscard]] std::size_t size() const { return members_.size(); }

  // Whether a request that has the prompt of the one before it can join: that must have been run.
  [[nodiscard]] bool can_share() const { return shared_cache_ != nullptr; }

  void join(std::size_t index, const GenerateRequest& request) {
    add(index, request, model_.new_cache(longest(request, model_.config().context)));
    shared_cache_.reset();
  }

  // For a request with the prompt of the one that joined before it. No request of that prompt needs
  // a longer cache than the first. The last token is run again: it predicts the first new one.
  void join_shared(std::size_t index, const GenerateRequest& request) {
    std::unique_ptr<KvCache> cache = shared_cache_->fork();
    cache->truncate(request.prompt.size() - 1);
    add(index, request, std::move(cache));
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

  // To be called after each step for as long as the next request has the prompt of the last one
  // that joined: keeps that prompt as soon as it is run.
  void keep_shared_prompt() {
    if (shared_cache_ != nullptr || members_.back().ongoing->prompt_left() > 0) return;
    shared_cache_ = members_.back().cache->fork();
  }

  template <class OnFinished>
  void leave(const OnFinished& on_finished) {
    for (Member& member : members_) {
      if (!member.ongoing->finished()) continue;
      Generation answer = std::move(*member.ongoing).result();
      answer.prefilled = member.prompt_tokens;  // shared or not: it does not depend on company
      on_finished(member.request, std::move(answer));
    }
    std::erase_if(members_, [](const Member& member) { return member.ongoing->finished(); });
  }

 private:
  void add(std::size_t index, const GenerateRequest& request, std::unique_ptr<KvCache> cache) {
    auto ongoing =
        std::make_unique<OngoingGeneration>(*cache, tokenizer_, request.prompt, *request.selector,
                                            request.options, [](std::string_view) {});
    members_.push_back({index, request.prompt.size(), std::move(cache), std::move(ongoing)});
  }

  LanguageModel& model_;
  const Tokenizer& tokenizer_;
  ThreadTeam& team_;
  std::vector<Member> members_;            // in the order in which they joined
  std::unique_ptr<KvCache> shared_cache_;  // with the prompt of the last request that had its own

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
  // Whether a request has the prompt of the one before it.
  const auto shares = [&](std::vector<std::size_t>::const_iterator at) {
    return at != order.begin() && have_one_prompt(requests[*at], requests[at[-1]]);
  };
  auto next = order.begin();
  while (next != order.end() || members.size() > 0) {
    if (stop.load(std::memory_order_relaxed)) return false;
    for (; next != order.end() && members.size() < batch; ++next) {
      if (!shares(next)) {
        members.join(*next, requests[*next]);
      } else if (members.can_share()) {
        members.join_shared(*next, requests[*next]);
      } else {
        break;  // until the prompt is run
      }
    }
    members.step();
    if (next != order.end() && shares(next)) members.keep_shared_prompt();
    members.leave(on_finished);
  }
  return true;
}

}  // namespace fathom
