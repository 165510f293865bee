#pragma once

#include "report/report.h"
#include "study/run_folder.h"

namespace fathom {

/// Makes everything that the study of skip controllers shows from what its run's store holds,
/// complete or not: answers.csv (one row a sample and cell), comparison.csv (how the inputs differ
/// at equal costs), the figures and report.html. The same bytes for the same answers. Returns the
/// report. Throws FileError if no row is answered in every cell or the store holds something else
/// than this study's results.
Report report_controllers(const RunFolder& folder);

}  // namespace fathom
