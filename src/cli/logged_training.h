#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include <nlohmann/json.hpp>

#include "data/row_log.h"

namespace fathom {

/// What metrics.jsonl holds of the runs before this one. A run that was killed goes on after its
/// last checkpoint: the steps and evaluations since then are made again, give what they gave, and
/// are not logged twice.
struct LoggedTraining {
  std::uint64_t step = 0;                               ///< the last one
  std::map<std::uint64_t, nlohmann::json> evaluations;  ///< whole rows, by step

  LoggedTraining() = default;  ///< nothing yet
  /// Throws FileError that names the line if one is no row of a training.
  explicit LoggedTraining(const RowLog& log);
};

/// A loss in a row, which holds null for one that was no number.
double loss_in(const nlohmann::json& row, std::string_view key);

}  // namespace fathom
