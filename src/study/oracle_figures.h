#pragma once

#include <vector>

#include "oracle/analysis.h"
#include "oracle/score_table.h"
#include "report/report.h"

namespace fathom {

/// Figure 2 of [Glavas24] (and 10, which is the same of other data): how much of the samples each
/// depth gets under each budget, and the oracle's and the static models' quality.
Figure selection_figure(const ScoreTable& table, const OracleAnalysis& analysis);

/// Figure 8: static models, the greedy oracle, the oracle.
Figure advantage_figure(const ScoreTable& table, const OracleAnalysis& analysis);

/// Figure 9: shares of each depth by length of the label, a panel a budget. There must be tests.
Figure length_figure(const ScoreTable& table, const OracleAnalysis& analysis);

/// Those of the three that the table allows.
std::vector<Figure> oracle_figures(const ScoreTable& table, const OracleAnalysis& analysis);

/// "layers" or "layers x tokens": what budgets count.
std::string_view cost_name(CostUnit unit);

}  // namespace fathom
