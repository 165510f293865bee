#include "data/examples.h"

#include <fstream>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

// Longer lines are taken for a file that is no JSON Lines at all.
constexpr std::size_t longest_line = std::size_t{64} << 20;

// getline that refuses to read a line of any length into memory.
bool read_line(std::istream& in, std::string& line, const std::string& file, std::size_t number) {
  line.clear();
  for (int c = in.get(); c != std::istream::traits_type::eof(); c = in.get()) {
    if (c == '\n') return true;
    if (line.size() == longest_line) {
      throw FileError(file, fmt::format("line {}", number),
                      fmt::format("longer than {} bytes", longest_line));
    }
    line.push_back(static_cast<char>(c));
  }
  return !line.empty();
}

Example parse_example(const std::string& line, const std::string& file, std::size_t number) {
  const std::string place = fmt::format("{}: line {}", file, number);
  const nlohmann::json json = parse_json(line, place);
  const JsonFields fields(place, json);
  Example example;
  const auto id = json.find("id");
  example.id = id == json.end()  ? fmt::format("{}", number)
               : id->is_string() ? id->get<std::string>()
                                 : id->dump();
  if (json.contains("prompt")) {
    example.instruction = fields.require_string("prompt");
    example.response = fields.require_string("response");
    return example;
  }
  if (!json.contains("instruction")) {
    throw FileError(place, "", "expected {prompt, response} or {instruction, input, output}");
  }
  example.kind = ExampleKind::alpaca;
  example.instruction = fields.require_string("instruction");
  if (const std::string* const input = fields.find_string("input")) example.input = *input;
  example.response = fields.require_string("output");
  return example;
}

}  // namespace

std::vector<Example> read_examples(const std::filesystem::path& path, std::size_t limit) {
  const std::string name = path.string();
  if (std::filesystem::is_directory(path)) throw FileError(name, "", "a folder, not a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw FileError(name, "", "cannot open");
  std::vector<Example> examples;
  std::string line;
  for (std::size_t number = 1; examples.size() < limit && read_line(in, line, name, number);
       ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    examples.push_back(parse_example(line, name, number));
  }
  if (examples.empty()) throw FileError(name, "", "no rows");
  return examples;
}

std::string user_message(const Example& example) {
  return example.input.empty() ? example.instruction : example.instruction + "\n\n" + example.input;
}

std::string plain_prompt(const Example& example) {
  if (example.kind == ExampleKind::plain) return example.instruction;
  const std::string_view opening =
      example.input.empty()
          ? "Below is an instruction that describes a task. "
          : "Below is an instruction that describes a task, paired with an input that provides "
            "further context. ";
  const std::string input =
      example.input.empty() ? "" : fmt::format("### Input:\n{}\n\n", example.input);
  return fmt::format(
      "{}Write a response that appropriately completes the request.\n\n"
      "### Instruction:\n{}\n\n{}### Response:",
      opening, example.instruction, input);
}

}  // namespace fathom
