#pragma once

#include "report/report.h"
#include "study/run_folder.h"

namespace fathom {

/// Makes everything that the oracle study shows from what its run's store holds, complete or not:
/// scores.csv (one row a sample, as read_scores() reads it), scores_tokens.csv (with the tokens
/// that were generated), answers.csv (one row a sample, depth and draw), budgets.csv, the figures
/// and report.html. All but what is in seconds is the same bytes for the same answers. Returns the
/// report. Throws FileError if the store holds no complete row or something else than this study's
/// results.
Report report_oracle(const RunFolder& folder);

}  // namespace fathom
