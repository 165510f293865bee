#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

namespace fathom {

/// A subcommand as main() sees it: its options, and what to do once they are parsed. `run` returns
/// the exit code; it throws InputError for what exits with 2.
struct Command {
  CLI::App* options;
  std::function<int()> run;
};

// One a file of that name.
Command add_inspect(CLI::App& program);
Command add_tokenize(CLI::App& program);
Command add_detokenize(CLI::App& program);
Command add_generate(CLI::App& program);
Command add_score(CLI::App& program);
Command add_bench(CLI::App& program);
Command add_convert(CLI::App& program);
Command add_rouge(CLI::App& program);
/// `command_line` is what the user typed; a study's report says it.
Command add_study(CLI::App& program, const std::string& command_line);
/// The studies beside it: subcommands of `study`.
Command add_study_layers(CLI::App& study, const std::string& command_line);
Command add_study_oracle(CLI::App& study, const std::string& command_line);
Command add_study_controllers(CLI::App& study, const std::string& command_line);
/// As add_study: the command line for the report.
Command add_oracle(CLI::App& program, const std::string& command_line);
Command add_report(CLI::App& program);
/// Of fathom-torch; fathom's own says that it is there.
Command add_train(CLI::App& program, const std::string& command_line);

/// The exit code of a run that Ctrl-C ended.
inline constexpr int exit_interrupted = 130;

/// Adds the example that every subcommand's --help ends with.
void add_example(CLI::App& command, const std::string& example);

}  // namespace fathom
