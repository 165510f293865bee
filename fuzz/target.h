#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"

namespace fathom {

/// The messages of the InputErrors with which an input was refused; empty if it was taken.
using Refusals = std::vector<std::string>;

/// Gives `input` to the code under test; each NAME_fuzz.cc defines it once. Whatever it throws is a
/// finding: an exception that is no InputError, or a BrokenPromise.
Refusals run_target(std::span<const std::byte> input);

/// The code under test did what its interface says it does not.
class BrokenPromise : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws BrokenPromise with the message unless `kept`.
void require_promise(bool kept, const std::string& message);

/// Throws BrokenPromise unless the message can be shown to a person as it is: one line of printable
/// ASCII that begins with `origin`, and no longer than a screen.
void check_message(const std::string& message, const std::string& origin);

/// Runs `action`. If it throws an InputError, checks its message and adds it to `refusals`.
template <class Action>
void run_refusable(Refusals& refusals, const std::string& origin, Action action) {
  try {
    action();
  } catch (const InputError& error) {
    check_message(error.what(), origin);
    refusals.emplace_back(error.what());
  }
}

}  // namespace fathom
