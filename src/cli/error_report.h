#pragma once

#include <functional>

namespace fathom {

// Exit codes of what went wrong.
inline constexpr int exit_failure = 1;    ///< a defect, or a failure of the machine
inline constexpr int exit_bad_input = 2;  ///< InputError

/// The edge where errors become messages and exit codes: runs `run` and returns what it does or,
/// if it throws, the code of the error, whose message is then on standard error.
int with_errors_reported(const std::function<int()>& run);

}  // namespace fathom
