#pragma once

#include "report/report.h"
#include "study/run_folder.h"

namespace fathom {

/// Prints a study's verdicts, and where its report lies.
void print_summary(const Report& report, const RunFolder& folder);

}  // namespace fathom
