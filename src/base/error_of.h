#pragma once

#include <string>

namespace fathom {

/// For tests: the message of the Error that `action` throws, or "no error". Another exception goes
/// on to the test.
template <class Error, class Action>
std::string error_of(Action action) {
  try {
    (void)action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace fathom
