#include "study/publish.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace fathom {

Report begin_report(const RunFolder& folder) {
  const RunConfig& config = folder.config();
  Report report;
  report.warnings = folder.warnings();
  report.command = config.command;
  report.provenance = {{"fathom", fmt::format("{}", fmt::join(config.versions, ", then "))},
                       {"model", config.model_path},
                       {"model's SHA-256", config.model_sha256},
                       {"data", config.data_path},
                       {"data's SHA-256", config.data_sha256}};
  for (const auto& [name, value] : config.options.items()) {
    report.provenance.emplace_back(name,
                                   value.is_string() ? value.get<std::string>() : value.dump());
  }
  return report;
}

void publish(const Report& report, const RunFolder& folder) {
  for (const Figure& figure : report.figures) {
    folder.write(figure.id + ".vl.json", figure.spec.dump(2) + "\n");
    folder.write(figure.id + ".csv", to_csv(figure.table));
  }
  folder.write("report.html", to_html(report));
}

}  // namespace fathom
