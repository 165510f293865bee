#include "data/examples.h"

#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/json_lines.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

constexpr std::string_view article_instruction =
    "Summarize the following article in a few short sentences.";

// The value of the first of two names that a field goes by; nullptr if it has neither.
const std::string* find_either(const JsonFields& fields, std::string_view name,
                               std::string_view other_name) {
  const std::string* const value = fields.find_string(name);
  return value != nullptr ? value : fields.find_string(other_name);
}

Example parse_example(const JsonLine& line) {
  const nlohmann::json& json = line.value;
  const JsonFields fields(line.place, json);
  Example example;
  example.id = row_id(line);
  if (json.contains("prompt")) {
    example.instruction = fields.require_string("prompt");
    example.response = fields.require_string("response");
    return example;
  }
  if (json.contains("instruction")) {
    example.kind = ExampleKind::alpaca;
    example.instruction = fields.require_string("instruction");
    if (const std::string* const input = find_either(fields, "input", "context")) {
      example.input = *input;
    }
    const std::string* const response = find_either(fields, "output", "response");
    if (response == nullptr) {
      throw FileError(line.place, "", "an instruction without 'output' or 'response'");
    }
    example.response = *response;
    return example;
  }
  if (json.contains("article")) {
    example.kind = ExampleKind::article;
    example.instruction = article_instruction;
    example.input = fields.require_string("article");
    example.response = fields.require_string("highlights");
    return example;
  }
  throw FileError(line.place, "", fmt::format("expected {}", row_shapes));
}

template <class Parse>
std::vector<Example> read_rows(const std::filesystem::path& path, std::size_t limit,
                               const Parse& parse) {
  JsonLineReader reader(path);
  std::vector<Example> examples;
  while (examples.size() < limit) {
    const std::optional<JsonLine> line = reader.next();
    if (!line) break;
    examples.push_back(parse(*line));
  }
  if (examples.empty()) throw FileError(path.string(), "", "no rows");
  return examples;
}

}  // namespace

std::string_view name(ExampleKind kind) {
  switch (kind) {
    case ExampleKind::alpaca:
      return "instruction";
    case ExampleKind::article:
      return "article";
    case ExampleKind::plain:
      break;
  }
  return "prompt";
}

std::vector<Example> read_examples(const std::filesystem::path& path, std::size_t limit) {
  return read_rows(path, limit, parse_example);
}

std::vector<Example> read_examples(const std::filesystem::path& path, const ExampleFields& fields,
                                   std::size_t limit) {
  return read_rows(path, limit, [&](const JsonLine& line) {
    const JsonFields row(line.place, line.value);
    return Example{.kind = ExampleKind::plain,
                   .id = row_id(line),
                   .instruction = fields.prompt.fill(row),
                   .input = "",
                   .response = row.require_string(fields.response)};
  });
}

std::string user_message(const Example& example) {
  return example.input.empty() ? example.instruction : example.instruction + "\n\n" + example.input;
}

std::string plain_prompt(const Example& example) {
  if (example.kind == ExampleKind::plain) return example.instruction;
  if (example.kind == ExampleKind::article) {
    return fmt::format("### Article:\n{}\n\n### Summary:", example.input);
  }
  const std::string input =
      example.input.empty() ? "" : fmt::format("### Input:\n{}\n\n", example.input);
  return fmt::format(
      "Below is an instruction that describes a task. Write a response that appropriately "
      "completes the request.\n\n### Instruction:\n{}\n\n{}### Response:",
      example.instruction, input);
}

}  // namespace fathom
