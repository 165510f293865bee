#include "cli/data_options.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "data/split.h"

namespace fathom {
namespace {

constexpr std::array<Split, 3> splits{Split::train, Split::validation, Split::test};

}  // namespace

void DataOptions::add_to(CLI::App& command) {
  command.add_option("--data", path, fmt::format("JSON Lines: rows {}", row_shapes));
  command.add_option("--prompt-field", prompt_field, "the field of other rows that is the prompt");
  command.add_option("--template", prompt_template,
                     "the prompt of other rows, with {FIELD} for each field that belongs into it");
  command.add_option("--response-field", response_field,
                     "the field of other rows that is the answer");
  std::vector<std::string> names{"all"};
  for (const Split each : splits) names.emplace_back(name(each));
  command
      .add_option(
          "--split", split,
          "part of the rows: all, or train, validation or test, which are 70, 15 and 15% of "
          "them (of articles 92, 4 and 4%), drawn")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  command.add_option("--split-seed", split_seed, "of that drawing")
      ->check(CLI::Range(std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command.add_option("--limit", limit, "only the first N rows")
      ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()))
      ->default_str(limit == std::numeric_limits<std::size_t>::max() ? "all"
                                                                     : fmt::format("{}", limit));
  command.add_flag("--raw", raw, "no chat template: the prompts as they are");
}

std::vector<Example> DataOptions::read() const {
  if (path.empty()) throw InputError("--data FILE is missing: JSON Lines with prompts and answers");
  if (!prompt_field.empty() && !prompt_template.empty()) {
    throw InputError("--prompt-field and --template: give one of them");
  }
  const bool prompt = !prompt_field.empty() || !prompt_template.empty();
  if (prompt && response_field.empty()) {
    throw InputError("--prompt-field and --template go with --response-field");
  }
  if (!prompt && !response_field.empty()) {
    throw InputError("--response-field goes with --prompt-field or --template");
  }
  const auto part =
      std::find_if(splits.begin(), splits.end(), [&](Split each) { return name(each) == split; });
  if (part == splits.end()) return read_all(limit);
  std::vector<Example> all = read_all(std::numeric_limits<std::size_t>::max());
  const SplitShares shares = split_shares(all.front().kind);
  std::vector<Example> examples;
  for (const std::size_t row : rows_of(*part, all.size(), shares, split_seed)) {
    if (examples.size() == limit) break;
    examples.push_back(std::move(all[row]));
  }
  if (examples.empty()) {
    throw FileError(path, "",
                    fmt::format("its {} rows are too few for a split {}", all.size(), split));
  }
  return examples;
}

std::vector<Example> DataOptions::read_all(std::size_t most) const {
  if (response_field.empty()) return read_examples(path, most);
  const ExampleFields fields{.prompt = prompt_template.empty()
                                           ? PromptTemplate::of_field(prompt_field)
                                           : PromptTemplate::parse(prompt_template),
                             .response = response_field};
  return read_examples(path, fields, most);
}

PromptMaker::Format DataOptions::format() const {
  return raw ? PromptMaker::Format::raw : PromptMaker::Format::chat;
}

void DataOptions::describe(nlohmann::ordered_json& options) const {
  options["prompt"] = raw ? "raw" : "chat";
  if (!prompt_field.empty()) options["prompt_field"] = prompt_field;
  if (!prompt_template.empty()) options["template"] = prompt_template;
  if (!response_field.empty()) options["response_field"] = response_field;
  if (split == "all") return;
  options["split"] = split;
  options["split_seed"] = split_seed;
}

}  // namespace fathom
