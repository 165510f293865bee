#include "cli/training_report.h"

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace fathom {
namespace {

using Json = nlohmann::ordered_json;

// A number by step, a line for each value of `series`.
struct Curves {
  std::string id, title, caption;
  std::string_view series;
  std::string_view quantity;
  Json values = Json::array();

  void add(const nlohmann::json& step, const nlohmann::json& of, const nlohmann::json& value) {
    // null stands for what is not a number.
    if (value.is_number()) {
      values.push_back({{"step", step}, {std::string(series), of}, {"value", value}});
    }
  }
};

Json field(std::string_view name, std::string_view type, std::string_view title) {
  return {{"field", name}, {"type", type}, {"title", title}};
}

std::string cell(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

Figure figure_of(Curves curves) {
  Figure figure{.id = std::move(curves.id),
                .title = std::move(curves.title),
                .caption = std::move(curves.caption)};
  figure.table.columns = {"step", std::string(curves.series), std::string(curves.quantity)};
  for (const Json& value : curves.values) {
    figure.table.rows.push_back({value["step"].dump(), cell(value[std::string(curves.series)]),
                                 fmt::format("{:.4f}", value["value"].get<double>())});
  }
  Json y = field("value", "quantitative", curves.quantity);
  y["scale"] = {{"zero", false}};
  figure.spec = {
      {"data", {{"values", std::move(curves.values)}}},
      {"encoding",
       {{"x", field("step", "quantitative", "step")},
        {"y", std::move(y)},
        {"color", field(curves.series, "nominal", curves.series)}}},
      {"layer", Json::array({{{"mark", "line"}}, {{"mark", {{"type", "point"}, {"size", 20}}}}})}};
  return figure;
}

void add_by_depth(Curves& curves, const nlohmann::json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_object()) return;
  for (const auto& [depth, value] : found->items()) curves.add(row.at("step"), depth, value);
}

}  // namespace

Report training_report(const std::vector<nlohmann::json>& rows) {
  Curves losses{.id = "loss",
                .title = "Loss of each step",
                .caption = "By how many layers the step's depth runs; before the step's change.",
                .series = "layers",
                .quantity = "loss per response token"};
  Curves held_out{.id = "held-out",
                  .title = "Loss on rows that are not trained on",
                  .caption = "By depth, without dropout. At step 0 the model is as it was.",
                  .series = "depth",
                  .quantity = "loss per response token"};
  Curves rouge{.id = "rouge-l",
               .title = "ROUGE-L of generated answers",
               .caption = "Of answers to rows that are not trained on, by depth.",
               .series = "depth",
               .quantity = "ROUGE-L F1"};
  double tokens = 0;
  double seconds = 0;
  for (const nlohmann::json& row : rows) {
    add_by_depth(held_out, row, "evaluation");
    add_by_depth(rouge, row, "rouge_l");
    if (!row.contains("loss")) continue;
    losses.add(row.at("step"), row.value("layers", nlohmann::json()), row.at("loss"));
    tokens += row.value("tokens", 0.0);
    seconds += row.value("seconds", 0.0);
  }
  Report report{.title = "Training"};
  if (seconds > 0) {
    report.summary = fmt::format("{} steps and {:.0f} tokens, {:.0f} of them a second.",
                                 losses.values.size(), tokens, tokens / seconds);
  }
  for (Curves* const each : {&losses, &held_out, &rouge}) {
    if (!each->values.empty()) report.figures.push_back(figure_of(std::move(*each)));
  }
  return report;
}

}  // namespace fathom
