#include "study/controllers.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/sha256.h"
#include "formats/json_file.h"
#include "generate/batch_generator.h"
#include "metrics/rouge.h"
#include "model/controller_file.h"
#include "model/model_hash.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t largest_summary = std::size_t{1} << 20;

std::string text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool ended_by_cap(StopReason reason) {
  return reason == StopReason::max_new_tokens || reason == StopReason::context;
}

std::string checked_backbone(const JsonFields& fields, std::string_view key) {
  const std::string& backbone = fields.require_string(key);
  if (backbone != "joint" && backbone != "frozen") {
    fields.fail(key, fmt::format("'{}' found, joint or frozen expected", backbone));
  }
  return backbone;
}

// What one training left in its folder.
CellFiles read_cell(const fs::path& folder) {
  const fs::path summary = folder / "training.json";
  if (!fs::exists(summary)) {
    throw FileError(summary.string(), "", "missing: this training is not finished");
  }
  const nlohmann::json json = read_json_object(summary, largest_summary);
  const JsonFields fields(summary.string(), json);
  const auto options = fields.find_object("options");
  if (!options) fields.fail("options", "missing; expected an object");
  CellFiles files{.controllers = folder / "controller.safetensors"};
  const ControllerFile controllers = read_controllers(files.controllers);
  files.cell = {.input = controllers.controllers.input(),
                .backbone = checked_backbone(*options, "backbone"),
                .alpha = controllers.alpha,
                .controllers_sha256 = sha256_of_file(files.controllers)};
  if (files.cell.backbone == "joint") {
    const fs::path gguf = folder / "model.gguf";
    files.model = fs::exists(gguf) ? gguf : folder / "model";
    files.cell.model_sha256 = model_sha256(*files.model);
  }
  return files;
}

/// Counts for each layer the rows that skip it.
class CountingSelector final : public Selector {
 public:
  CountingSelector(ControllerSelector selector, std::int32_t depth)
      : selector_(std::move(selector)), skips_(static_cast<std::size_t>(depth)) {}

  [[nodiscard]] const Route* fixed_route() const override { return selector_.fixed_route(); }
  [[nodiscard]] bool needs_margins(LayerIndex layer) const override {
    return selector_.needs_margins(layer);
  }
  void select(LayerIndex layer, const LayerRows& rows,
              std::vector<std::size_t>& running) const override {
    const std::size_t before = running.size();
    selector_.select(layer, rows, running);
    skips_[layer.index()] += rows.count - (running.size() - before);
  }
  [[nodiscard]] const std::vector<std::uint64_t>& skips() const { return skips_; }

 private:
  ControllerSelector selector_;
  mutable std::vector<std::uint64_t> skips_;
};

// An answer that is wanted. Requests refer to it.
struct Task {
  std::uint64_t sample = 0;
  std::vector<TokenId> prompt;
  CountingSelector selector;
  GenerateOptions options;
};

std::optional<std::string> why_left_out(std::size_t prompt, std::size_t context) {
  if (prompt == 0) return "its prompt has no tokens";
  if (prompt < context) return std::nullopt;
  return fmt::format("its prompt of {} tokens does not fit into a context of {}", prompt, context);
}

std::string answer_text(const Example& example, const Generation& answer,
                        const std::vector<std::uint64_t>& skips) {
  Json tokens = Json::array();
  for (const GeneratedToken& each : answer.tokens) tokens.push_back(each.token.value);
  return text({{"id", example.id},
               {"rouge_l", rouge(answer.text, example.response, Stemming::none).rouge_l.f1},
               {"count", answer.tokens.size()},
               {"end", name(answer.reason)},
               {"capped", ended_by_cap(answer.reason)},
               {"passes", answer.routed_passes},
               {"skips", skips},
               {"text", answer.text},
               {"tokens", std::move(tokens)}});
}

ControlledAnswer parse_answer(const JsonFields& fields, std::int32_t depth) {
  ControlledAnswer answer{.rouge_l = fields.require_float("rouge_l"),
                          .tokens = fields.require_unsigned("count"),
                          .capped = fields.require_bool("capped"),
                          .passes = fields.require_unsigned("passes"),
                          .skips = {}};
  answer.skips = fields.find_one_or_more_unsigned("skips", answer.passes)
                     .value_or(std::vector<std::uint64_t>{});
  if (answer.skips.size() != static_cast<std::size_t>(depth)) {
    fields.fail("skips", fmt::format("{} numbers found, {} expected", answer.skips.size(), depth));
  }
  return answer;
}

}  // namespace

std::string ControllerCell::name() const {
  return fmt::format("{} {} alpha {}", fathom::name(input), backbone, alpha);
}

std::vector<CellFiles> find_cells(std::span<const std::string> folders) {
  std::vector<CellFiles> cells;
  for (const std::string& folder : folders) {
    std::error_code error;
    const std::size_t before = cells.size();
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      if (entry.is_directory() && fs::exists(entry.path() / "controller.safetensors")) {
        cells.push_back(read_cell(entry.path()));
      }
    }
    if (error) throw FileError(folder, "", "cannot be read: " + error.message());
    if (cells.size() == before) {
      throw FileError(folder, "",
                      "no alpha-A/controller.safetensors in it; `fathom-torch train controllers` "
                      "makes them");
    }
  }
  const auto key = [](const CellFiles& files) {
    return std::tuple(files.cell.backbone, files.cell.input, files.cell.alpha);
  };
  std::sort(cells.begin(), cells.end(),
            [&](const CellFiles& a, const CellFiles& b) { return key(a) < key(b); });
  for (std::size_t i = 1; i < cells.size(); ++i) {
    if (key(cells[i]) == key(cells[i - 1])) {
      throw InputError(fmt::format("{} and {} are both {}", cells[i - 1].controllers.string(),
                                   cells[i].controllers.string(), cells[i].cell.name()));
    }
  }
  return cells;
}

Json to_json(const ControllersOptions& options) {
  Json cells = Json::array();
  for (const ControllerCell& cell : options.cells) {
    Json json{{"input", name(cell.input)},
              {"backbone", cell.backbone},
              {"alpha", cell.alpha},
              {"controllers_sha256", cell.controllers_sha256}};
    if (!cell.model_sha256.empty()) json["model_sha256"] = cell.model_sha256;
    cells.push_back(std::move(json));
  }
  return {{"cells", std::move(cells)},
          {"max_new_tokens", options.max_new_tokens},
          {"gates", to_string(options.gates)},
          {"seed", options.seed}};
}

ControllersOptions controllers_options_from_json(const nlohmann::json& json,
                                                 std::string_view file) {
  const JsonFields fields(std::string(file), json);
  ControllersOptions options{.cells = {},
                             .max_new_tokens = fields.require_unsigned("max_new_tokens"),
                             .gates = {},
                             .seed = fields.require_unsigned("seed")};
  const auto cells = fields.object().find("cells");
  if (cells == fields.object().end() || !cells->is_array() || cells->empty()) {
    fields.fail("cells", "expected an array of at least one");
  }
  try {
    options.gates = parse_gate_rule(fields.require_string("gates"));
    for (std::size_t i = 0; i < cells->size(); ++i) {
      const JsonFields cell(fmt::format("{}: cell {}", file, i + 1), (*cells)[i]);
      const std::string* const model = cell.find_string("model_sha256");
      options.cells.push_back({.input = parse_controller_input(cell.require_string("input")),
                               .backbone = checked_backbone(cell, "backbone"),
                               .alpha = cell.require_float("alpha"),
                               .controllers_sha256 = cell.require_string("controllers_sha256"),
                               .model_sha256 = model != nullptr ? *model : ""});
    }
  } catch (const FileError&) {
    throw;
  } catch (const InputError& error) {
    throw FileError(file, "", error.what());
  }
  return options;
}

bool is_answered(const RunFolder& folder, const ControllerCell& cell, std::size_t rows) {
  for (std::uint64_t sample = 0; sample < rows; ++sample) {
    if (!folder.store().routes_of(sample).contains(cell.name())) return false;
  }
  return true;
}

bool measure_controllers(const CellModel& with, ThreadTeam& team, const PromptMaker& prompts,
                         std::span<const Example> examples, const ControllersOptions& options,
                         const ControllerCell& cell, std::size_t batch, RunFolder& folder,
                         const StopFlag& stop) {
  ResultStore& store = folder.store();
  const std::string key = cell.name();
  std::vector<Task> tasks;
  std::vector<Result> left_out;
  for (std::uint64_t sample = 0; sample < examples.size(); ++sample) {
    if (store.routes_of(sample).contains(key)) continue;
    const Example& example = examples[sample];
    std::vector<TokenId> prompt = prompts.example(example);
    if (const auto why = why_left_out(prompt.size(), with.model.config().context)) {
      left_out.push_back({sample, key, text({{"id", example.id}, {"left_out", *why}})});
      continue;
    }
    Task task{
        .sample = sample,
        .prompt = std::move(prompt),
        .selector = CountingSelector(ControllerSelector(with.controllers, options.gates,
                                                        options.seed, sequence_key(example.id)),
                                     with.model.config().depth()),
        .options = {}};
    task.options.max_new_tokens = options.max_new_tokens;
    task.options.end_tokens = with.files.end_tokens;
    tasks.push_back(std::move(task));
  }
  store.put(left_out);
  std::vector<GenerateRequest> requests;
  for (const Task& task : tasks) requests.push_back({task.prompt, &task.selector, task.options});
  const std::size_t before = examples.size() - tasks.size();
  std::size_t done = 0;
  Progress progress(key + ": answers", examples.size(), before);
  return generate_batch(
      with.model, with.files.tokenizer, team, requests, batch, stop,
      [&](std::size_t request, const Generation& answer) {
        const Task& task = tasks[request];
        store.put(
            {task.sample, key, answer_text(examples[task.sample], answer, task.selector.skips())});
        progress.done(before + ++done);
      });
}

std::vector<ControllersRow> read_controllers_study(const RunFolder& folder,
                                                   const ControllersOptions& options) {
  const std::int32_t depth = folder.config().layers;
  std::map<std::string, std::size_t> place;
  for (std::size_t c = 0; c < options.cells.size(); ++c) place[options.cells[c].name()] = c;
  std::map<std::uint64_t, std::map<std::size_t, nlohmann::json>> by_sample;
  for (const Result& result : folder.store().results()) {
    const std::string where =
        fmt::format("{}: sample {}, {}", folder.path().string(), result.sample, result.route);
    const auto cell = place.find(result.route);
    if (cell == place.end()) throw FileError(where, "", "no cell of this run");
    by_sample[result.sample][cell->second] = parse_json(result.value, where);
  }
  std::vector<ControllersRow> rows;
  for (const auto& [sample, answers] : by_sample) {
    if (answers.size() < options.cells.size()) continue;
    ControllersRow row{.sample = sample, .id = {}, .left_out = std::nullopt, .answers = {}};
    for (const auto& [cell, json] : answers) {
      const JsonFields fields(fmt::format("{}: sample {}, {}", folder.path().string(), sample,
                                          options.cells[cell].name()),
                              json);
      row.id = fields.require_string("id");
      if (const std::string* const why = fields.find_string("left_out")) {
        row.left_out = *why;
      } else {
        row.answers.push_back(parse_answer(fields, depth));
      }
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace fathom
