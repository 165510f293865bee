#include "study/oracle.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "depth/policy.h"
#include "depth/selector.h"
#include "formats/json_file.h"
#include "generate/batch_generator.h"
#include "metrics/rouge.h"
#include "study/step_time.h"

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

// What the store calls what is known of a row before it is answered, and the time of a step at each
// depth, which it keeps with row 0.
constexpr auto row_key = "row";
constexpr auto step_key = "step seconds";

// What a run's options call the layers of the depths that need a ranking.
constexpr auto ranked_key = "ranked_layers";

// What the store calls an answer: the depth; of a draw, from 1, that too.
std::string answer_key(const std::string& depth, std::size_t draw) {
  return draw == 0 ? depth : fmt::format("{} draw {}", depth, draw);
}

std::string text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool ended_by_cap(StopReason reason) {
  return reason == StopReason::max_new_tokens || reason == StopReason::context;
}

// An answer that is wanted. Requests refer to it.
struct Task {
  std::uint64_t sample = 0;
  std::string key;
  std::vector<TokenId> prompt;
  RouteSelector selector;
  GenerateOptions options;
};

/// Answers the rows of a run.
class Measurement {
 public:
  Measurement(LanguageModel& model, const ModelFiles& files, const PromptMaker& prompts,
              std::span<const Example> examples, const OracleOptions& options, ResultStore& store)
      : model_(model),
        files_(files),
        prompts_(prompts),
        examples_(examples),
        options_(options),
        store_(store) {
    for (std::uint64_t sample = 0; sample < examples.size(); ++sample) add_row(sample);
    store_.put(new_rows_);
  }

  // Returns false if it was stopped.
  bool measure_steps(const StopFlag& stop) {
    if (tasks_.empty() || store_.routes_of(0).contains(step_key)) return true;
    const std::span<const TokenId> prompt = tasks_.front().prompt;
    std::vector<Route> routes;
    for (const std::string& depth : options_.depths) {
      routes.push_back(resolve(parse_policy(depth), model_.config().depth(), options_.seed, 0,
                               options_.ranking));
    }
    // A prompt that leaves no room gives way: what a step takes hardly depends on it.
    const std::size_t most = std::max<std::size_t>(1, model_.config().context / 2);
    const std::vector<double> seconds =
        step_seconds(model_, prompt.first(std::min(prompt.size(), most)), routes, stop);
    if (seconds.empty()) return false;
    Json json;
    for (std::size_t d = 0; d < seconds.size(); ++d) json[options_.depths[d]] = seconds[d];
    store_.put({0, step_key, text(json)});
    return true;
  }

  OracleWork answer(ThreadTeam& team, std::size_t batch, const StopFlag& stop) {
    std::vector<GenerateRequest> requests;
    for (const Task& task : tasks_) requests.push_back({task.prompt, &task.selector, task.options});
    OracleWork work;
    std::set<std::uint64_t> samples;
    Progress progress("answers", there_ + tasks_.size(), there_);
    const Stopwatch watch;
    work.complete = generate_batch(
        model_, files_.tokenizer, team, requests, batch, stop,
        [&](std::size_t request, const Generation& answer) {
          const Task& task = tasks_[request];
          store_.put({task.sample, task.key, answer_text(examples_[task.sample], answer)});
          ++work.answers;
          work.new_tokens += answer.tokens.size();
          if (samples.insert(task.sample).second) work.prompt_tokens += answer.prefilled;
          progress.done(there_ + work.answers);
        });
    work.seconds = watch.seconds();
    return work;
  }

 private:
  void add_row(std::uint64_t sample) {
    const Example& example = examples_[sample];
    const std::set<std::string> there = store_.routes_of(sample);
    const std::vector<TokenId> prompt = prompts_.example(example);
    const std::size_t label =
        files_.tokenizer.encode(example.response, SpecialTokens::recognize).size();
    const std::optional<std::string> why = why_left_out(prompt.size(), label);
    if (!there.contains(row_key)) {
      Json row{{"id", example.id}};
      if (why) row["left_out"] = *why;
      row["prompt_tokens"] = prompt.size();
      row["label_tokens"] = label;
      new_rows_.push_back({sample, row_key, text(row)});
    }
    if (why) return;
    for (const std::string& depth : options_.depths) {
      for (std::size_t draw = 0; draw <= options_.draws; ++draw) {
        if (there.contains(answer_key(depth, draw))) {
          ++there_;
        } else {
          tasks_.push_back(task(sample, depth, draw, prompt));
        }
      }
    }
  }

  [[nodiscard]] std::optional<std::string> why_left_out(std::size_t prompt,
                                                        std::size_t label) const {
    const std::size_t context = model_.config().context;
    if (prompt == 0) return "its prompt has no tokens";
    if (label == 0) return "its label has no tokens";
    if (prompt < context) return std::nullopt;
    return fmt::format("its prompt of {} tokens does not fit into a context of {}", prompt,
                       context);
  }

  [[nodiscard]] Task task(std::uint64_t sample, const std::string& depth, std::size_t draw,
                          const std::vector<TokenId>& prompt) const {
    const std::string& id = examples_[sample].id;
    Route route = resolve(parse_policy(depth), model_.config().depth(), options_.seed,
                          sequence_key(id), options_.ranking);
    Task task{.sample = sample,
              .key = answer_key(depth, draw),
              .prompt = prompt,
              .selector = RouteSelector(std::move(route)),
              .options = {}};
    task.options.max_new_tokens = options_.max_new_tokens;
    task.options.end_tokens = files_.end_tokens;
    if (draw > 0) {
      task.options.sampling.temperature = options_.temperature;
      task.options.seed = options_.seed;
      // Draws of different depths have nothing in common either.
      task.options.sequence = sequence_key(fmt::format("{}\n{}", id, task.key));
    }
    return task;
  }

  static std::string answer_text(const Example& example, const Generation& answer) {
    Json tokens = Json::array();
    for (const GeneratedToken& each : answer.tokens) tokens.push_back(each.token.value);
    const RougeScores scores = rouge(answer.text, example.response, Stemming::none);
    return text({{"rouge_l", scores.rouge_l.f1},
                 {"count", answer.tokens.size()},
                 {"end", name(answer.reason)},
                 {"capped", ended_by_cap(answer.reason)},
                 {"text", answer.text},
                 {"tokens", std::move(tokens)},
                 {"seconds", answer.prefill_seconds + answer.decode_seconds}});
  }

  LanguageModel& model_;
  const ModelFiles& files_;
  const PromptMaker& prompts_;
  std::span<const Example> examples_;
  const OracleOptions& options_;
  ResultStore& store_;
  std::vector<Result> new_rows_;
  std::vector<Task> tasks_;
  std::size_t there_ = 0;  // answers that the store has
};

// The routes that ranked_key has, as a ranking that has no others.
std::optional<Ranking> parse_ranked(const JsonFields& options, std::int32_t depth) {
  const std::optional<JsonFields> ranked = options.find_object(ranked_key);
  if (!ranked) return std::nullopt;
  std::vector<Route> routes;
  for (const auto& [policy, layers] : ranked->object().items()) {
    const std::string& list = ranked->require_string(policy);
    try {
      routes.push_back(resolve(parse_policy("layers:" + list), depth, 0, 0));
    } catch (const InputError& error) {
      ranked->fail(policy, error.what());
    }
  }
  try {
    return Ranking(depth, std::move(routes));
  } catch (const InputError& error) {
    options.fail(ranked_key, error.what());
  }
}

OracleAnswer parse_answer(const JsonFields& fields) {
  return {.tokens = fields.require_unsigned("count"),
          .rouge_l = fields.require_float("rouge_l"),
          .capped = fields.require_bool("capped")};
}

// The results of one row, by what the store calls them.
class StoredRow {
 public:
  StoredRow(const RunFolder& folder, std::uint64_t sample)
      : place_(fmt::format("{}: sample {}", folder.path().string(), sample)), sample_(sample) {}

  [[nodiscard]] std::uint64_t sample() const { return sample_; }

  void add(const Result& result) {
    values_[result.route] = parse_json(result.value, fmt::format("{}, {}", place_, result.route));
  }

  [[nodiscard]] std::optional<JsonFields> find(const std::string& key) const {
    const auto value = values_.find(key);
    if (value == values_.end()) return std::nullopt;
    return JsonFields(fmt::format("{}, {}", place_, key), value->second);
  }

  // The row, if all of it is there.
  [[nodiscard]] std::optional<OracleRow> complete(const OracleOptions& options) const {
    const std::optional<JsonFields> head = find(row_key);
    if (!head) return std::nullopt;
    OracleRow row{.sample = sample_,
                  .id = head->require_string("id"),
                  .left_out = std::nullopt,
                  .label_tokens = head->require_unsigned("label_tokens"),
                  .greedy = {},
                  .drawn = {}};
    if (const std::string* const why = head->find_string("left_out")) {
      row.left_out = *why;
      return row;
    }
    for (std::size_t draw = 0; draw <= options.draws; ++draw) {
      std::vector<OracleAnswer>& answers = draw == 0 ? row.greedy : row.drawn.emplace_back();
      for (const std::string& depth : options.depths) {
        const std::optional<JsonFields> answer = find(answer_key(depth, draw));
        if (!answer) return std::nullopt;
        answers.push_back(parse_answer(*answer));
      }
    }
    return row;
  }

 private:
  std::string place_;
  std::uint64_t sample_;
  std::map<std::string, nlohmann::json> values_;
};

}  // namespace

std::vector<std::string> oracle_depths(std::string_view list, std::int32_t depth,
                                       const std::optional<Ranking>& ranking) {
  std::map<std::int32_t, std::string> by_cost;
  bool full = false;
  for (const DepthPolicy& policy : parse_policies(list)) {
    const std::string text = to_string(policy);
    full = full || policy == DepthPolicy(FullDepth{});
    const std::int32_t cost = resolve(policy, depth, 0, 0, ranking).cost();
    const auto [there, added] = by_cost.emplace(cost, text);
    if (added) continue;
    throw InputError(
        fmt::format("depths {}: {} and {} both run {} layers; each depth must have a "
                    "number of its own",
                    list, there->second, text, cost));
  }
  if (!full) {
    throw InputError(
        fmt::format("depths {}: full is missing, with which the others are compared", list));
  }
  std::vector<std::string> depths;
  for (auto& [cost, text] : by_cost) depths.push_back(std::move(text));
  return depths;
}

Json to_json(const OracleOptions& options) {
  Json json{{"depths", options.depths},
            {"max_new_tokens", options.max_new_tokens},
            {"generations", options.draws},
            {"seed", options.seed}};
  if (options.draws > 0) json["temperature"] = options.temperature;
  // The layers and not the ranking's hash: a run can then be reported without the file, and goes on
  // with any ranking that has the same routes.
  for (const std::string& depth : options.depths) {
    const DepthPolicy policy = parse_policy(depth);
    if (!needs_ranking(policy) || !options.ranking) continue;
    json[ranked_key][depth] =
        resolve(policy, options.ranking->depth(), 0, 0, options.ranking).to_string();
  }
  return json;
}

OracleOptions oracle_options_from_json(const nlohmann::json& json, std::string_view file,
                                       std::int32_t depth) {
  const JsonFields fields(std::string(file), json);
  OracleOptions options{
      .depths = fields.find_strings("depths").value_or(std::vector<std::string>{}),
      .ranking = parse_ranked(fields, depth),
      .max_new_tokens = fields.require_unsigned("max_new_tokens"),
      .draws = fields.require_unsigned("generations", 2),
      .temperature = fields.find_float("temperature").value_or(0),
      .seed = fields.require_unsigned("seed")};
  if (options.depths.empty()) fields.fail("depths", "expected at least one");
  for (const std::string& each : options.depths) {
    try {
      (void)resolve(parse_policy(each), depth, 0, 0, options.ranking);
    } catch (const InputError& error) {
      fields.fail("depths", error.what());
    }
  }
  return options;
}

OracleWork measure_oracle(LanguageModel& model, const ModelFiles& files, ThreadTeam& team,
                          const PromptMaker& prompts, std::span<const Example> examples,
                          const OracleOptions& options, std::size_t batch, RunFolder& folder,
                          const StopFlag& stop) {
  Measurement measurement(model, files, prompts, examples, options, folder.store());
  if (!measurement.measure_steps(stop)) return {};
  return measurement.answer(team, batch, stop);
}

OracleResults read_oracle(const RunFolder& folder, const OracleOptions& options) {
  OracleResults results;
  std::optional<StoredRow> stored;
  const auto finish = [&] {
    if (!stored) return;
    if (auto row = stored->complete(options)) results.rows.push_back(std::move(*row));
    if (const auto steps = stored->find(step_key)) {
      for (const std::string& depth : options.depths) {
        results.step_seconds.push_back(steps->require_float(depth));
      }
    }
  };
  for (const Result& result : folder.store().results()) {
    if (!stored || stored->sample() != result.sample) {
      finish();
      stored.emplace(folder, result.sample);
    }
    stored->add(result);
  }
  finish();
  return results;
}

}  // namespace fathom
