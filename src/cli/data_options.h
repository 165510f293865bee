#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "data/examples.h"
#include "data/prompt_maker.h"

namespace fathom {

/// --data and what is taken of it, on every subcommand that runs a model over prompts with answers.
struct DataOptions {
  std::string path;
  std::string prompt_field, response_field, prompt_template;
  std::string split = "all";
  std::uint64_t split_seed = 0;
  std::size_t limit = std::numeric_limits<std::size_t>::max();
  bool raw = false;

  /// Adds the options. What `limit` is by then is the command's default.
  void add_to(CLI::App& command);
  /// The rows of the split, the first `limit` of them. Throws InputError if there is no --data or
  /// options do not go together, FileError as read_examples() does and if the split has no rows.
  [[nodiscard]] std::vector<Example> read() const;
  [[nodiscard]] PromptMaker::Format format() const;
  /// All but the path and the limit, as a run's description holds them. Those that were not given
  /// are left out, but for the prompt's format.
  void describe(nlohmann::ordered_json& options) const;

 private:
  [[nodiscard]] std::vector<Example> read_all(std::size_t most) const;
};

}  // namespace fathom
