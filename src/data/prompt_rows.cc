#include "data/prompt_rows.h"

#include <limits>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "data/json_lines.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

PromptRow parse_row(const JsonLine& line) {
  const JsonFields fields(line.place, line.value);
  PromptRow row{.line = line.number,
                .id = row_id(line),
                .prompt = fields.require_string("prompt"),
                .depth = std::nullopt,
                .max_new_tokens = fields.find_unsigned("max_new_tokens", most_new_tokens),
                .seed = fields.find_unsigned("seed", std::numeric_limits<std::int64_t>::max()),
                .temperature = fields.find_float("temperature")};
  if (const std::string* const depth = fields.find_string("depth")) {
    try {
      row.depth = parse_policy(*depth);
    } catch (const InputError& error) {
      fields.fail("depth", error.what());
    }
  }
  if (row.max_new_tokens == 0) fields.fail("max_new_tokens", "0 found, at least 1 expected");
  if (row.temperature.value_or(0) < 0) {
    fields.fail("temperature",
                fmt::format("{} found, 0 or a positive number expected", *row.temperature));
  }
  return row;
}

}  // namespace

std::vector<PromptRow> read_prompt_rows(const std::filesystem::path& path) {
  JsonLineReader reader(path);
  std::vector<PromptRow> rows;
  std::unordered_map<std::string, std::size_t> line_of;  // of each id
  while (const std::optional<JsonLine> line = reader.next()) {
    rows.push_back(parse_row(*line));
    const auto [there, first] = line_of.emplace(rows.back().id, line->number);
    if (!first) {
      throw FileError(
          line->place, "",
          fmt::format("its id '{}' is that of line {} too", there->first, there->second));
    }
  }
  if (rows.empty()) throw FileError(path.string(), "", "no rows");
  return rows;
}

}  // namespace fathom
