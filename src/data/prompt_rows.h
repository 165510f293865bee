#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "depth/policy.h"

namespace fathom {

/// A row to generate from. What it does not say itself is up to the caller.
struct PromptRow {
  std::size_t line = 0;  ///< of the file, from 1
  std::string id;        ///< the row's "id" if it has one, else its line's number
  std::string prompt;
  std::optional<DepthPolicy> depth;
  std::optional<std::size_t> max_new_tokens;  ///< at least 1
  std::optional<std::uint64_t> seed;
  std::optional<double> temperature;  ///< 0 or more
};

/// The most that a row, or an option, may ask for.
inline constexpr std::size_t most_new_tokens = std::size_t{1} << 30;

/// Reads JSON Lines: one object {prompt, id, depth, max_new_tokens, seed, temperature} a line, of
/// which all but the prompt may be absent. Other fields and empty lines are ignored. Throws
/// FileError that names the line if one is no such object, a value is out of range, or two rows
/// have one id.
std::vector<PromptRow> read_prompt_rows(const std::filesystem::path& path);

}  // namespace fathom
