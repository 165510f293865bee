#pragma once

#include <cstddef>
#include <string>

#include "cli/generate_options.h"

namespace fathom {

/// How many sequences are answered at once by default: more gained little where it was measured
/// (docs/json.md).
inline constexpr std::size_t default_batch = 16;

/// Answers the rows of `batch_file`, up to `batch` at once, into `out` (docs/json.md). Returns
/// the exit code. Throws FileError if a row cannot be answered, before any is, or if `out` holds
/// rows that this run would not make so.
int run_generate_batch(const GenerateCommandOptions& options, const std::string& batch_file,
                       const std::string& out, std::size_t batch);

}  // namespace fathom
