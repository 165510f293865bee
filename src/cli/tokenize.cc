#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/model_options.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

struct Options {
  ModelOption model;
  std::optional<std::string> argument;
  bool lines = false;
  bool no_special = false;
  bool json = false;
};

std::string standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

void print_line(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
}

// Calls `convert` on the JSON value of each line of standard input and prints what it gives.
template <class Convert>
void convert_lines(Convert convert) {
  std::string line;
  for (std::size_t number = 1; std::getline(std::cin, line); ++number) {
    const std::string place = fmt::format("standard input: line {}", number);
    print_line(json_text(convert(parse_json(line, place), place)));
  }
}

std::vector<TokenId> parse_tokens(const nlohmann::json& json, const std::string& place) {
  if (!json.is_array()) throw FileError(place, "", "expected a JSON array of token ids");
  std::vector<TokenId> tokens;
  for (const auto& id : json) {
    if (!id.is_number_integer() || id < 0 || id > 0x7fffffff) {
      throw FileError(place, "", fmt::format("'{}' is no token id", id.dump()));
    }
    tokens.emplace_back(id.get<std::int32_t>());
  }
  return tokens;
}

// --lines reads standard input; a text beside it would be lost.
void check_lines(const Options& options) {
  if (options.lines && options.argument) {
    throw InputError(
        fmt::format("--lines reads standard input; '{}' would be ignored", *options.argument));
  }
}

int tokenize(const Options& options) {
  check_lines(options);
  const ModelFiles files = options.model.open();
  const SpecialTokens special =
      options.no_special ? SpecialTokens::as_text : SpecialTokens::recognize;
  if (options.lines) {
    convert_lines([&](const nlohmann::json& json, const std::string& place) {
      if (!json.is_string()) throw FileError(place, "", "expected a JSON string");
      return to_json(files.tokenizer.encode(json.get<std::string>(), special));
    });
    return 0;
  }
  const std::string text = options.argument ? *options.argument : standard_input();
  const Json tokens = to_json(files.tokenizer.encode(text, special));
  print_json(options.json ? Json{{"tokens", tokens}} : tokens);
  return 0;
}

int detokenize(const Options& options) {
  check_lines(options);
  const ModelFiles files = options.model.open();
  const auto decode = [&](const nlohmann::json& json, const std::string& place) {
    try {
      return files.tokenizer.decode(parse_tokens(json, place));
    } catch (const FileError&) {
      throw;
    } catch (const InputError& error) {
      throw FileError(place, "", error.what());
    }
  };
  if (options.lines) {
    convert_lines([&](const nlohmann::json& json, const std::string& place) {
      return Json(decode(json, place));
    });
    return 0;
  }
  const std::string place = options.argument ? "token ids" : "standard input";
  const std::string text =
      decode(parse_json(options.argument ? *options.argument : standard_input(), place), place);
  options.json ? print_json({{"text", text}}) : print_line(text);
  return 0;
}

CLI::App* add_options(CLI::App& program, const std::string& name, const std::string& description,
                      Options& options) {
  CLI::App* const command = program.add_subcommand(name, description);
  options.model.add_to(*command);
  CLI::Option* const json =
      command->add_flag("--json", options.json, "print one JSON object (docs/json.md)");
  command->add_flag("--lines", options.lines, "read one JSON value a line, print one a line")
      ->excludes(json);
  return command;
}

}  // namespace

Command add_tokenize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command =
      add_options(program, "tokenize", "Text to token ids, a JSON array", *options);
  command->add_option("TEXT", options->argument, "the text; default: all of standard input");
  command->add_flag("--no-special", options->no_special,
                    "take the text of special tokens as plain text");
  add_example(*command, "fathom tokenize 'How deep is the sea?'");
  return {command, [options] { return tokenize(*options); }};
}

Command add_detokenize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* const command =
      add_options(program, "detokenize", "Token ids, a JSON array, to text", *options);
  command->add_option("IDS", options->argument, "the ids; default: all of standard input");
  add_example(*command, "fathom detokenize '[2020, 2276, 314, 260, 3426, 47]'");
  return {command, [options] { return detokenize(*options); }};
}

}  // namespace fathom
