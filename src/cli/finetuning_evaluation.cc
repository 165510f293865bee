#include "cli/finetuning_evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "depth/selector.h"
#include "generate/batch_generator.h"
#include "generate/generator.h"
#include "kernels/kernels.h"
#include "metrics/rouge.h"

namespace fathom {

std::vector<GenerationRow> generation_rows(const std::vector<Example>& rows,
                                           const PromptMaker& prompts, std::size_t count) {
  std::vector<GenerationRow> made;
  for (std::size_t i = 0; i < std::min(count, rows.size()); ++i) {
    made.push_back({prompts.example(rows[i]), rows[i].response});
  }
  return made;
}

nlohmann::ordered_json GenerationScore::run(const Finetuning& training,
                                            const std::vector<NamedRoute>& routes) const {
  ThreadTeam team(threads_);
  CpuModel model(training.trained_model(), Precision::fast, kernels(), team);
  if (const auto adapter = training.trained_adapter()) model.set_adapter(*adapter);
  nlohmann::ordered_json scores = nlohmann::ordered_json::object();
  for (const NamedRoute& each : routes) scores[each.name] = mean_score(model, team, each.route);
  if (routes.empty()) {
    scores["full"] = mean_score(model, team, Route::full(model.config().depth()));
  }
  return scores;
}

double GenerationScore::mean_score(CpuModel& model, ThreadTeam& team, const Route& route) const {
  const RouteSelector selector(route);
  std::vector<GenerateRequest> requests;
  for (const GenerationRow& row : rows_) {
    requests.push_back({.prompt = row.prompt,
                        .selector = &selector,
                        .options = {.max_new_tokens = max_tokens_,
                                    .sampling = {.temperature = 0},
                                    .end_tokens = model.files().end_tokens}});
  }
  std::vector<double> scores(rows_.size());
  const StopFlag never = false;
  generate_batch(model, model.files().tokenizer, team, requests, batch_, never,
                 [&](std::size_t row, const Generation& answer) {
                   scores[row] = rouge(answer.text, rows_[row].response, Stemming::none).rouge_l.f1;
                 });
  return std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scores.size());
}

bool FinetuningEvaluation::is_due(std::uint64_t step, std::uint64_t last) const {
  return !examples_.empty() && (step % every_ == 0 || step == last);
}

std::string FinetuningEvaluation::run(const Finetuning& training, const std::string& described,
                                      const Ranks& ranks) {
  nlohmann::ordered_json losses = nlohmann::ordered_json::object();
  double sum = 0;
  for (const NamedRoute& each : routes_) {
    losses[each.name] = training.evaluate(examples_, &each.route);
    sum += losses[each.name].get<double>();
  }
  if (routes_.empty()) losses["full"] = sum = training.evaluate(examples_, nullptr);
  const double mean = sum / static_cast<double>(std::max<std::size_t>(1, routes_.size()));
  if (stopping_.add(training.steps(), mean)) training.save(folder_, described);
  nlohmann::ordered_json row{{"step", training.steps()}, {"evaluation", losses}, {"mean", mean}};
  // Weights that are no numbers any more have no answers.
  if (!generation_.empty() && ranks.is_first() && std::isfinite(mean)) {
    row["rouge_l"] = generation_.run(training, routes_);
  }
  return row.dump();
}

void FinetuningEvaluation::restore_best(Finetuning& training, const std::string& described) const {
  if (!stopping_.best_step() || *stopping_.best_step() == training.steps()) return;
  if (!training.load(folder_, described)) {
    throw FileError(folder_.string(), "", "missing; the best weights are expected there");
  }
}

}  // namespace fathom
