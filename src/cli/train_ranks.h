#pragma once

#include <functional>
#include <string>

#include "train/ranks.h"

namespace fathom {

/// Runs a training as one of the processes that a launcher started, or alone if none did, and
/// returns its exit code. An error of one rank ends all.
int run_on_ranks(const std::function<int(Ranks& ranks)>& run);

/// Throws InputError unless all ranks have the same description of what they train: what they do
/// together follows from it.
void require_same(Ranks& ranks, const std::string& description);

}  // namespace fathom
