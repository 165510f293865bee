#pragma once

#include "report/report.h"
#include "study/run_folder.h"

namespace fathom {

/// A report with what every study's has: the command, versions and hashes of `folder`, and a
/// warning for each of its own.
Report begin_report(const RunFolder& folder);

/// Writes into the folder, for every figure of the report, ID.vl.json and ID.csv, and report.html.
void publish(const Report& report, const RunFolder& folder);

}  // namespace fathom
