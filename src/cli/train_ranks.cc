#include "cli/train_ranks.h"

#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/error_report.h"
#include "train/launch.h"

namespace fathom {

int run_on_ranks(const std::function<int(Ranks& ranks)>& run) {
  const std::unique_ptr<Ranks> ranks = open_ranks();
  const int code = with_errors_reported([&] { return run(*ranks); });
  if (code == exit_failure || code == exit_bad_input) ranks->abort(code);
  return code;
}

void require_same(Ranks& ranks, const std::string& description) {
  const std::string first = ranks.broadcast(description);
  if (first == description) return;
  throw InputError(
      fmt::format("rank {} of {} trains something else than rank 0: {} found, {} expected",
                  ranks.rank(), ranks.size(), description, first));
}

std::map<std::uint64_t, nlohmann::json> evaluations_of_first(Ranks& ranks,
                                                             const LoggedTraining& logged) {
  const std::string first = ranks.broadcast(nlohmann::json(logged.evaluations).dump());
  return nlohmann::json::parse(first).get<std::map<std::uint64_t, nlohmann::json>>();
}

}  // namespace fathom
