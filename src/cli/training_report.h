#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "report/report.h"

namespace fathom {

/// Curves of a training from the rows of its metrics.jsonl: the loss of each step, and held-out
/// losses by depth if there are any. Facts, command and provenance are left to the caller.
Report training_report(const std::vector<nlohmann::json>& rows);

}  // namespace fathom
