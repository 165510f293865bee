#include "cli/logged_training.h"

#include <algorithm>
#include <limits>

#include "formats/json_file.h"

namespace fathom {

LoggedTraining::LoggedTraining(const RowLog& log) {
  log.read([&](const JsonLine& row) {
    const std::uint64_t number = JsonFields(row.place, row.value).require_unsigned("step");
    if (row.value.contains("evaluation")) {
      evaluations[number] = row.value;
    } else {
      step = std::max(step, number);
    }
  });
}

double loss_in(const nlohmann::json& row, std::string_view key) {
  const auto loss = row.find(key);
  return loss != row.end() && loss->is_number() ? loss->get<double>()
                                                : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace fathom
