#include "generate/batch_generator.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "engine/cpu_model.h"
#include "generate/generator.h"
#include "kernels/kernels.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Le;

/// What a forward pass was asked for, of each sequence.
struct SeenStep {
  RowRole role;
  std::size_t tokens;
};

/// A model that remembers its passes.
class WatchedModel final : public LanguageModel {
 public:
  explicit WatchedModel(LanguageModel& model) : model_(model) {}

  [[nodiscard]] const ModelConfig& config() const override { return model_.config(); }
  [[nodiscard]] std::unique_ptr<KvCache> new_cache(std::size_t capacity) const override {
    return model_.new_cache(capacity);
  }
  void forward(std::span<const SequenceStep> steps, ForwardOutput& output,
               HiddenStateSink* sink) override {
    std::vector<SeenStep>& pass = passes.emplace_back();
    for (const SequenceStep& step : steps) {
      pass.push_back({step.role, step.tokens.size()});
    }
    model_.forward(steps, output, sink);
    if (on_pass) on_pass();
  }
  void final_norm(std::span<const float> hidden, std::span<float> normed) override {
    model_.final_norm(hidden, normed);
  }
  void head(std::span<const float> hidden, ForwardOutput& output) override {
    model_.head(hidden, output);
  }

  std::vector<std::vector<SeenStep>> passes;
  std::function<void()> on_pass;

 private:
  LanguageModel& model_;
};

std::vector<TokenId> some_tokens(std::size_t count, std::size_t first) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i) {
    tokens.emplace_back(static_cast<std::int32_t>((first + 37 * i) % 380));
  }
  return tokens;
}

std::vector<std::int32_t> ids(const Generation& generation) {
  std::vector<std::int32_t> result;
  for (const GeneratedToken& token : generation.tokens) result.push_back(token.token.value);
  return result;
}

std::vector<double> logprobs(const Generation& generation) {
  std::vector<double> result;
  for (const GeneratedToken& token : generation.tokens) {
    result.push_back(token.logprob.value_or(0));
    for (const TokenLogprob& each : token.alternatives) result.push_back(each.logprob);
  }
  return result;
}

class BatchGeneratorTest : public testing::Test {
 protected:
  /// A request for `new_tokens` tokens after a prompt of `prompt` tokens, in all layers. It may be
  /// changed until the answering.
  GenerateRequest& add(std::size_t prompt, std::size_t new_tokens) {
    prompts_.push_back(some_tokens(prompt, 11 * prompts_.size()));
    requests_.push_back({.prompt = {}, .selector = &full_, .options = {}});
    requests_.back().options.max_new_tokens = new_tokens;
    requests_.back().options.sequence = prompts_.size();
    return requests_.back();
  }

  // Points the requests to their prompts, which no longer move.
  void connect() {
    for (std::size_t i = 0; i < requests_.size(); ++i) requests_[i].prompt = prompts_[i];
  }

  Generation alone(std::size_t request) {
    connect();
    const GenerateRequest& each = requests_[request];
    const auto cache = tiny_.new_cache(std::min<std::size_t>(
        each.prompt.size() + each.options.max_new_tokens, tiny_.config().context));
    return generate(tiny_, *cache, tokenizer(), each.prompt, *each.selector, each.options, stop_,
                    [](std::string_view) {});
  }

  /// The answers; a request answered twice fails.
  std::map<std::size_t, Generation> together(std::size_t batch, int threads = 2) {
    connect();
    ThreadTeam team(threads);
    std::map<std::size_t, Generation> answers;
    finished_ = generate_batch(model_, tokenizer(), team, requests_, batch, stop_,
                               [&](std::size_t request, Generation answer) {
                                 EXPECT_TRUE(answers.emplace(request, std::move(answer)).second);
                               });
    return answers;
  }

  // The lengths of the prompts, each of which is one chunk, in the order in which they were run.
  std::vector<std::size_t> joined() const {
    std::vector<std::size_t> lengths;
    for (const auto& pass : model_.passes) {
      for (const SeenStep& step : pass) {
        if (step.role != RowRole::prompt) continue;
        lengths.push_back(step.tokens);
      }
    }
    return lengths;
  }

  const Tokenizer& tokenizer() const { return tiny_.files().tokenizer; }

  ThreadTeam team_{1};  // of the model; what is tested has its own
  CpuModel tiny_{ModelFiles::open(std::filesystem::path(FATHOM_SOURCE_DIR) / "golden" / "tiny" /
                                  "rope-linear"),
                 Precision::fast, kernels(), team_};
  WatchedModel model_{tiny_};
  const RouteSelector full_{Route::full(4)};
  const RouteSelector half_{Route::uniform(2, 4)};
  const RouteSelector first_{Route::first(1, 4)};
  std::vector<std::vector<TokenId>> prompts_;
  std::vector<GenerateRequest> requests_;
  StopFlag stop_ = false;
  std::optional<bool> finished_;
};

TEST_F(BatchGeneratorTest, AnswersAreThoseOfEachAlone) {
  const std::vector<const Selector*> selectors{&full_, &half_, &first_};
  for (std::size_t i = 0; i < 19; ++i) {
    GenerateRequest& request = add(1 + 13 * i % 90, 1 + 7 * i % 24);
    request.selector = selectors[i % selectors.size()];
    request.options.seed = i / 2;
    request.options.sampling.temperature = i % 4 == 0 ? 0 : 0.5 * static_cast<double>(i % 4);
    if (i % 5 == 0) request.options.sampling.top_p = 0.9;
    if (i % 7 == 0) request.options.sampling.repetition_penalty = 1.3;
    if (i % 3 == 0) request.options.logprobs = 2;
    if (i % 6 == 0) request.options.end_tokens = {TokenId{5}, TokenId{300}, TokenId{17}};
  }
  std::vector<Generation> expected;
  for (std::size_t i = 0; i < requests_.size(); ++i) expected.push_back(alone(i));
  for (const int threads : {1, 2}) {
    for (const std::size_t batch : {1U, 3U, 16U, 100U}) {
      const auto answers = together(batch, threads);
      EXPECT_TRUE(*finished_);
      ASSERT_EQ(answers.size(), requests_.size());
      for (const auto& [i, answer] : answers) {
        SCOPED_TRACE(testing::Message() << "request " << i << ", batch " << batch);
        EXPECT_EQ(ids(answer), ids(expected[i]));
        EXPECT_EQ(logprobs(answer), logprobs(expected[i]));
        EXPECT_EQ(answer.text, expected[i].text);
        EXPECT_EQ(answer.reason, expected[i].reason);
        EXPECT_EQ(answer.prefilled, expected[i].prefilled);
        EXPECT_EQ(answer.routed_passes, expected[i].routed_passes);
        EXPECT_EQ(answer.layers_run, expected[i].layers_run);
      }
    }
  }
}

// Requests with one prompt are run from forks of its cache, on whatever routes, and get no other
// tokens for it.
TEST_F(BatchGeneratorTest, AnswersToOnePromptAreThoseOfEachAlone) {
  const std::vector<const Selector*> selectors{&full_, &first_, &half_};
  for (const std::size_t prompt : {1U, 2U, 63U, 64U, 65U, 200U}) {
    for (std::size_t i = 0; i < 5; ++i) {
      GenerateRequest& request = add(prompt, 30);
      prompts_.back() = some_tokens(prompt, prompt);
      request.selector = selectors[i % selectors.size()];
      request.options.logprobs = 2;
      if (i == 4) request.options.max_new_tokens = 1000;
      if (i > 2) request.options.sampling.temperature = 0.8;
      if (i % 2 == 0) request.options.end_tokens = {TokenId{5}, TokenId{300}, TokenId{17}};
    }
  }
  std::vector<Generation> expected;
  for (std::size_t i = 0; i < requests_.size(); ++i) expected.push_back(alone(i));
  for (const std::size_t batch : {1U, 2U, 7U, 100U}) {
    const auto answers = together(batch);
    ASSERT_EQ(answers.size(), requests_.size());
    for (const auto& [i, answer] : answers) {
      SCOPED_TRACE(testing::Message() << "request " << i << ", batch " << batch);
      EXPECT_EQ(ids(answer), ids(expected[i]));
      EXPECT_EQ(logprobs(answer), logprobs(expected[i]));
      EXPECT_EQ(answer.reason, expected[i].reason);
      EXPECT_EQ(answer.prefilled, expected[i].prefilled);
      EXPECT_EQ(answer.routed_passes, expected[i].routed_passes);
      EXPECT_EQ(answer.layers_run, expected[i].layers_run);
    }
  }
}

TEST_F(BatchGeneratorTest, OnePromptIsRunOnce) {
  for (std::size_t i = 0; i < 6; ++i) {
    (void)add(100, 12);  // the first one has left when the third joins
    prompts_.back() = some_tokens(100, i < 4 ? 1 : 2);
  }
  (void)together(2);
  std::size_t rows = 0;
  for (const std::size_t tokens : joined()) rows += tokens;
  // Two prompts, and the last token of one for each that shares it.
  EXPECT_EQ(rows, 2 * 100 + 3 + 1);
}

TEST_F(BatchGeneratorTest, TheLongestComeFirst) {
  (void)add(10, 4);
  (void)add(30, 4);
  (void)add(12, 50);  // 62 tokens at most
  (void)add(20, 4);
  (void)add(5, 9);  // as long as the first
  (void)together(1);
  EXPECT_THAT(joined(), ElementsAre(12, 30, 20, 10, 5));
}

// How many new tokens a sequence may still get counts, not how many it was asked for.
TEST_F(BatchGeneratorTest, TheContextBoundsHowLongOneMayTake) {
  (void)add(100, 1000);
  (void)add(200, 1000);
  (void)add(50, 205);
  (void)together(1);
  EXPECT_THAT(joined(), ElementsAre(100, 200, 50));
}

TEST_F(BatchGeneratorTest, SequencesJoinWhenOthersLeave) {
  for (std::size_t i = 0; i < 10; ++i) (void)add(3, 4 + 2 * i);
  (void)together(3);
  std::size_t rows = 0;
  for (const auto& pass : model_.passes) {
    EXPECT_THAT(pass.size(), Le(3U));
    rows += pass.size();
  }
  // One prompt pass and all but one token each.
  EXPECT_EQ(rows, 10 * (4 + 22) / 2);
  // While others wait no place is free: only the last passes have fewer rows, as many as the last
  // three differ in length.
  const auto few = std::count_if(model_.passes.begin(), model_.passes.end(),
                                 [](const auto& pass) { return pass.size() < 3; });
  EXPECT_THAT(few, Le(8));
  EXPECT_TRUE(std::is_partitioned(model_.passes.begin(), model_.passes.end(),
                                  [](const auto& pass) { return pass.size() == 3; }));
}

TEST_F(BatchGeneratorTest, PromptsShareAChunkAndThePassOfOthers) {
  (void)add(10, 60);
  (void)add(200, 3);
  (void)add(199, 3);
  (void)add(190, 3);
  (void)together(4);
  std::vector<std::size_t> prompt_rows;
  bool beside_routed = false;
  for (const auto& pass : model_.passes) {
    std::size_t prompt = 0;
    bool routed = false;
    for (const SeenStep& step : pass) {
      if (step.role == RowRole::prompt) prompt += step.tokens;
      routed = routed || step.role == RowRole::routed;
    }
    if (prompt > 0) prompt_rows.push_back(prompt);
    beside_routed = beside_routed || (prompt > 0 && routed);
  }
  EXPECT_THAT(prompt_rows,
              ElementsAre(default_prefill_chunk, default_prefill_chunk, 599 - 2 * 256));
  EXPECT_TRUE(beside_routed);
}

TEST_F(BatchGeneratorTest, EachSequenceEndsForItsOwnReason) {
  for (std::size_t i = 0; i < 4; ++i) (void)add(20, 30);
  const Generation plain = alone(1);
  // The end token, and a text, that each comes to when it is not stopped.
  requests_[1].options.end_tokens = {plain.tokens[6].token};
  const Generation other = alone(2);
  ASSERT_GT(other.text.size(), 8U);
  requests_[2].options.stop_strings = {other.text.substr(5, 3)};
  requests_[3].options.max_new_tokens = 1000;
  const auto answers = together(4);
  EXPECT_EQ(answers.at(0).reason, StopReason::max_new_tokens);
  EXPECT_EQ(answers.at(0).tokens.size(), 30U);
  EXPECT_EQ(answers.at(1).reason, StopReason::end_token);
  EXPECT_LE(answers.at(1).tokens.size(), 7U);
  EXPECT_EQ(answers.at(1).tokens.back().token, plain.tokens[6].token);
  EXPECT_EQ(answers.at(2).reason, StopReason::stop_string);
  EXPECT_EQ(answers.at(2).text, other.text.substr(0, other.text.find(other.text.substr(5, 3))));
  EXPECT_EQ(answers.at(3).reason, StopReason::context);
  // The last token is chosen with the context full.
  EXPECT_EQ(answers.at(3).tokens.size(), tiny_.config().context - 20 + 1);
}

TEST_F(BatchGeneratorTest, APromptMayFillTheContext) {
  (void)add(256, 5);
  (void)add(3, 2);
  const auto answers = together(2);
  EXPECT_EQ(answers.at(0).reason, StopReason::context);
  EXPECT_EQ(answers.at(0).tokens.size(), 1U);
  EXPECT_EQ(answers.at(1).tokens.size(), 2U);
}

TEST_F(BatchGeneratorTest, StopsBetweenPasses) {
  for (std::size_t i = 0; i < 6; ++i) (void)add(5, i < 2 ? 40 : 3);
  model_.on_pass = [&] { stop_ = model_.passes.size() == 8; };
  const auto answers = together(4);
  EXPECT_FALSE(*finished_);
  EXPECT_EQ(model_.passes.size(), 8U);
  // What was finished by then was handed out, whole.
  EXPECT_EQ(answers.size(), 4U);
  for (const auto& [i, answer] : answers) {
    EXPECT_EQ(answer.reason, StopReason::max_new_tokens);
    EXPECT_EQ(answer.tokens.size(), 3U) << i;
  }
}

TEST_F(BatchGeneratorTest, RefusesPromptsBeforeAnythingIsRun) {
  for (const std::size_t length : {0U, 257U}) {
    requests_.clear();
    prompts_.clear();
    (void)add(3, 2);
    (void)add(length, 2);
    EXPECT_THAT(error_of<InputError>([&] { (void)together(2); }), HasSubstr("1 to 256"));
  }
  EXPECT_TRUE(model_.passes.empty());
}

TEST_F(BatchGeneratorTest, NothingToDo) {
  EXPECT_TRUE(together(4).empty());
  EXPECT_TRUE(*finished_);
  EXPECT_TRUE(model_.passes.empty());
}

}  // namespace
}  // namespace fathom
