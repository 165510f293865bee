#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/logged_training.h"
#include "train/ranks.h"

namespace fathom {

/// Runs a training as one of the processes that a launcher started, or alone if none did, and
/// returns its exit code. An error of one rank ends all.
int run_on_ranks(const std::function<int(Ranks& ranks)>& run);

/// Throws InputError unless all ranks have the same description of what they train: what they do
/// together follows from it.
void require_same(Ranks& ranks, const std::string& description);

/// The evaluations that the first rank, which alone has a log, has found in it.
std::map<std::uint64_t, nlohmann::json> evaluations_of_first(Ranks& ranks,
                                                             const LoggedTraining& logged);

}  // namespace fathom
