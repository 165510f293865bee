#pragma once

#include "report/report.h"
#include "study/run_folder.h"

namespace fathom {

/// Makes everything in the folder of a study of layers that is made from its results: tables,
/// figures, report.html and ranking.json. Returns the report. Throws FileError if the run is not
/// complete.
Report report_layers(const RunFolder& folder);

}  // namespace fathom
