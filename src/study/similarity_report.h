#pragma once

#include "report/report.h"
#include "study/run_folder.h"

namespace fathom {

/// Makes everything that the similarity study shows from what its run's store holds, complete or
/// not: similarity.csv (one row a route and cost), samples.csv (one row a sample, route and cost),
/// the figures and report.html. Rows are in the order of routes and costs, so that the same results
/// give the same bytes. Returns the report. Throws FileError if the store holds no complete row or
/// something else than this study's results.
Report report_similarity(const RunFolder& folder);

}  // namespace fathom
