#include "cli/study_summary.h"

#include <fmt/format.h>

namespace fathom {

void print_summary(const Report& report, const RunFolder& folder) {
  fmt::print("{}\n", report.title);
  for (const auto& [name, value] : report.facts) fmt::print("  {:<10} {}\n", name, value);
  for (const std::string& warning : report.warnings) fmt::print("  warning    {}\n", warning);
  fmt::print("\n");
  for (const Verdict& verdict : report.verdicts) {
    fmt::print("{:<14} {}\n", name(verdict.outcome), verdict.claim);
  }
  fmt::print("\nreport: {}\n", (folder.path() / "report.html").string());
}

}  // namespace fathom
