#include "cli/generate_batch.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/stopwatch.h"
#include "cli/command.h"
#include "cli/generation_json.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/version.h"
#include "data/prompt_rows.h"
#include "data/row_log.h"
#include "generate/batch_generator.h"
#include "model/model_hash.h"

namespace fathom {
namespace {

// A row with all that its answer depends on, but for what the whole run has in common.
struct Task {
  std::string id;
  DepthPolicy policy;
  std::unique_ptr<const Selector> selector;
  std::vector<TokenId> prompt;
  GenerateOptions options;
  Json controllers = Json::object();  // what the answer depends on under controller:FILE
};

DepthPolicy policy_of(const PromptRow& row, const GenerateCommandOptions& options) {
  return row.depth ? *row.depth : parse_policy(options.depth);
}

Task make_task(const PromptRow& row, const GenerateCommandOptions& options,
               const PromptMaker& prompts, const ModelFiles& model,
               const std::optional<Ranking>& ranking, const LoadedControllers& controllers) {
  GenerateOptions own = options.generate;
  own.end_tokens = model.end_tokens;
  own.sequence = sequence_key(row.id);
  own.max_new_tokens = row.max_new_tokens.value_or(own.max_new_tokens);
  own.seed = row.seed.value_or(own.seed);
  own.sampling.temperature = row.temperature.value_or(own.sampling.temperature);
  const DepthPolicy policy = policy_of(row, options);
  std::vector<TokenId> prompt = options.prompt_tokens(prompts, row.prompt);
  check_prompt_length(prompt, model.config);
  auto selector =
      make_selector(policy, model.config.depth(), own.seed, own.sequence, ranking, controllers);
  return {.id = row.id,
          .policy = policy,
          .selector = std::move(selector),
          .prompt = std::move(prompt),
          .options = std::move(own)};
}

std::vector<Task> make_tasks(const std::vector<PromptRow>& rows, const std::string& file,
                             const GenerateCommandOptions& options, const PromptMaker& prompts,
                             const ModelFiles& model) {
  std::vector<DepthPolicy> policies;
  for (const PromptRow& row : rows) policies.push_back(policy_of(row, options));
  const std::optional<Ranking> ranking = options.ranking.find(model, policies);
  const LoadedControllers controllers = options.gates.find(model.config, policies);
  std::map<std::string, std::string> hashes;
  for (const auto& [path, loaded] : controllers.by_file) hashes[path] = sha256_of_file(path);
  std::vector<Task> tasks;
  tasks.reserve(rows.size());
  for (const PromptRow& row : rows) {
    try {
      tasks.push_back(make_task(row, options, prompts, model, ranking, controllers));
      if (const std::string* const path = controller_file(tasks.back().policy)) {
        tasks.back().controllers = {{"gates", to_string(controllers.rule)},
                                    {"controllers_sha256", hashes.at(*path)}};
      }
    } catch (const InputError& error) {
      throw FileError(file, fmt::format("line {}", row.line), error.what());
    }
  }
  return tasks;
}

// What all rows of a run have in common.
Json run_json(const GenerateCommandOptions& options, const RunningModel& running) {
  Json json{{"precision", options.engine.precision},
            // Their sums differ in the last bits.
            {"kernels", kernels().name},
            {"model_sha256", model_sha256(running.model().files().path)},
            {"version", version()}};
  if (!options.model.quantize.empty()) json["quantize"] = options.model.quantize;
  // By what it is, wherever it lies.
  if (running.adapter()) json["adapter_sha256"] = running.adapter()->sha256;
  return json;
}

// All that a row's answer depends on beside its prompt and its depth.
Json made_with(const Task& task, const Json& run) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  const SamplingOptions& sampling = task.options.sampling;
  Json json{{"max_new_tokens", task.options.max_new_tokens},
            {"seed", task.options.seed},
            {"temperature", sampling.temperature},
            {"top_k", or_null(sampling.top_k)},
            {"top_p", or_null(sampling.top_p)},
            {"min_p", or_null(sampling.min_p)},
            {"repetition_penalty", sampling.repetition_penalty},
            {"stop", task.options.stop_strings},
            {"logprobs", task.options.logprobs}};
  json.update(task.controllers);
  json.update(run);
  return json;
}

std::string row_text(const Task& task, const Json& run, const Generation& answer) {
  Json json{{"id", task.id}};
  json.update(to_json(task.policy, *task.selector, task.prompt, answer));
  if (task.options.logprobs > 0) json["logprobs"] = logprobs_json(answer);
  json["made_with"] = made_with(task, run);
  return json_text(json);
}

// What row_text() begins with, by which a row that a kill cut short is known.
constexpr std::string_view row_beginning = R"({"id":)";

// Throws FileError if a row of the output is not what this run makes of the task.
void check_row(const JsonLine& row, const Task& task, const Json& run) {
  const JsonFields fields(row.place, row.value);
  (void)fields.require_string("text");
  const std::optional<JsonFields> made = fields.find_object("made_with");
  if (!made) fields.fail("made_with", "missing: this is no row that a batch made");
  std::vector<std::string> differences;
  const auto compare = [&](const nlohmann::json& object, const std::string& key,
                           const nlohmann::json& now) {
    const nlohmann::json there = object.value(key, nlohmann::json());
    if (there == now) return;
    differences.push_back(fmt::format("{}: {} there, {} now", key, there.dump(), now.dump()));
  };
  if (row.value.value("prompt_tokens", nlohmann::json()) != nlohmann::json(to_json(task.prompt))) {
    differences.emplace_back("another prompt, with --system and --raw as they are now");
  }
  compare(row.value, "depth", to_string(task.policy));
  // Of one policy too: another ranking has other routes.
  compare(row.value, "route", route_json(*task.selector));
  const Json wanted = made_with(task, run);
  for (const auto& [key, now] : wanted.items()) compare(made->object(), key, now);
  // Said only where it was asked for.
  for (const std::string key : {"quantize", "adapter_sha256"}) {
    if (!wanted.contains(key)) compare(made->object(), key, nullptr);
  }
  if (differences.empty()) return;
  throw FileError(row.place, "",
                  fmt::format("row '{}' was made otherwise: {}. Give another --out, or the options "
                              "that it was made with",
                              task.id, fmt::join(differences, "; ")));
}

// For each task the row that the output has of it, if it does.
std::vector<std::optional<std::size_t>> rows_there(const RowLog& log,
                                                   const std::vector<Task>& tasks, const Json& run,
                                                   const std::string& batch_file) {
  std::unordered_map<std::string_view, std::size_t> task_of;
  for (std::size_t t = 0; t < tasks.size(); ++t) task_of.emplace(tasks[t].id, t);
  std::vector<std::optional<std::size_t>> there(tasks.size());
  log.read([&](const JsonLine& row) {
    const JsonFields fields(row.place, row.value);
    const std::string& id = fields.require_string("id");
    const auto task = task_of.find(id);
    if (task == task_of.end()) {
      throw FileError(row.place, "",
                      fmt::format("row '{}' is not among those of {}", id, batch_file));
    }
    if (there[task->second]) throw FileError(row.place, "", fmt::format("row '{}' again", id));
    check_row(row, tasks[task->second], run);
    there[task->second] = row.number - 1;
  });
  return there;
}

// Sums over the answers of this run.
struct Totals {
  std::size_t rows = 0;
  std::size_t prompt_tokens = 0;
  std::size_t new_tokens = 0;
  std::size_t routed_passes = 0;
  std::uint64_t layers_run = 0;

  void add(const Generation& answer) {
    ++rows;
    prompt_tokens += answer.prefilled;
    new_tokens += answer.tokens.size();
    routed_passes += answer.routed_passes;
    layers_run += answer.layers_run;
  }
};

void print_totals(const Totals& totals, double seconds, std::int32_t depth) {
  fmt::print(stderr, "{} rows: {} prompt tokens, {} new tokens in {:.1f} s, {:.1f} new tokens/s",
             totals.rows, totals.prompt_tokens, totals.new_tokens, seconds,
             static_cast<double>(totals.new_tokens) / seconds);
  if (totals.routed_passes > 0) {
    fmt::print(stderr, "   mean layers {:.1f} of {}",
               static_cast<double>(totals.layers_run) / static_cast<double>(totals.routed_passes),
               depth);
  }
  fmt::print(stderr, "\n");
}

}  // namespace

int run_generate_batch(const GenerateCommandOptions& options, const std::string& batch_file,
                       const std::string& out, std::size_t batch) {
  const std::vector<PromptRow> rows = read_prompt_rows(batch_file);
  std::error_code no_such_file;
  if (std::filesystem::equivalent(batch_file, out, no_such_file)) {
    throw InputError("--batch-file and --out name one file");
  }
  RunningModel running(options.model, options.engine);
  CpuModel& model = running.model();
  const ModelFiles& files = model.files();
  const std::vector<Task> tasks =
      make_tasks(rows, batch_file, options, PromptMaker(files, options.format()), files);
  const Json run = run_json(options, running);
  const StopFlag& stop = stop_on_interrupt();
  RowLog log(out, row_beginning);
  std::vector<std::optional<std::size_t>> row_of = rows_there(log, tasks, run, batch_file);

  std::vector<std::size_t> task_of;  // for each request
  std::vector<GenerateRequest> requests;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    if (row_of[t]) continue;
    task_of.push_back(t);
    requests.push_back({tasks[t].prompt, tasks[t].selector.get(), tasks[t].options});
  }
  const std::size_t before = tasks.size() - requests.size();
  if (before > 0) fmt::print(stderr, "fathom: {}: {} rows are there\n", out, before);

  Totals totals;
  const Stopwatch watch;
  bool whole = false;
  {
    Progress progress("rows", tasks.size(), before);
    whole = generate_batch(model, files.tokenizer, running.team(), requests, batch, stop,
                           [&](std::size_t request, const Generation& answer) {
                             const std::size_t task = task_of[request];
                             log.append(row_text(tasks[task], run, answer));
                             row_of[task] = before + totals.rows;
                             totals.add(answer);
                             progress.done(before + totals.rows);
                           });
  }
  if (totals.rows > 0) print_totals(totals, watch.seconds(), model.config().depth());
  if (!whole) {
    fmt::print(stderr,
               "fathom: {}: stopped with {} of {} rows; the same command goes on from there\n", out,
               before + totals.rows, tasks.size());
    return exit_interrupted;
  }
  std::vector<std::size_t> order;
  for (const auto& row : row_of) order.push_back(row.value());
  log.reorder(order);
  return 0;
}

}  // namespace fathom
