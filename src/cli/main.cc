#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/error_report.h"
#include "cli/help.h"
#include "cli/version.h"

namespace fathom {
namespace {

// What the user typed, quoted so that a shell takes it as it was.
std::string command_line(int argc, char** argv) {
  const auto quoted = [](std::string_view word) {
    constexpr std::string_view plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
    if (!word.empty() && word.find_first_not_of(plain) == std::string_view::npos) {
      return std::string(word);
    }
    std::string text = "'";
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return text + "'";
  };
  std::string line = "fathom";
  for (int i = 1; i < argc; ++i) line += " " + quoted(argv[i]);
  return line;
}

int run_program(int argc, char** argv) {
  CLI::App program("fathom runs decoder-only language models at the depth each prompt needs.",
                   "fathom");
  program.formatter(std::make_shared<HelpFormatter>());
  program.failure_message([](const CLI::App*, const CLI::Error& error) {
    return fmt::format("fathom: {}\nRun with --help for more information.\n", error.what());
  });
  program.set_version_flag("--version", version_text());
  // At most one, and not none: an unknown one is then named as such.
  program.require_subcommand(0, 1);
  const std::vector<Command> commands{add_generate(program),
                                      add_inspect(program),
                                      add_bench(program),
                                      add_score(program),
                                      add_convert(program),
                                      add_rouge(program),
                                      add_tokenize(program),
                                      add_detokenize(program),
                                      add_study(program, command_line(argc, argv)),
                                      add_oracle(program, command_line(argc, argv)),
                                      add_report(program),
                                      add_train(program, command_line(argc, argv))};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and the version are "errors" to CLI11 too, with code 0.
    return program.exit(error) == 0 ? 0 : exit_bad_input;
  }
  for (const Command& command : commands) {
    if (command.options->parsed()) return command.run();
  }
  fmt::print(stderr, "fathom: expected a subcommand\n\n{}", program.help());
  return exit_bad_input;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  return fathom::with_errors_reported([&] {
    const int code = fathom::run_program(argc, argv);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {  // now or before
      fmt::print(stderr, "fathom: cannot write to standard output\n");
      return fathom::exit_failure;
    }
    return code;
  });
}
