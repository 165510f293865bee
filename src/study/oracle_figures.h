#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oracle/analysis.h"
#include "oracle/score_table.h"
#include "report/report.h"
#include "report/table.h"

namespace fathom {

/// What [Glavas24] reports of an oracle, to be drawn beside. Costs are shares of the full model's.
struct PaperOracle {
  struct Model {
    double cost = 0;
    double quality = 0;
  };
  std::string setting;        ///< "OPT-1.3B on Alpaca"
  double match = 0;           ///< where the oracle equals the full model
  std::vector<Model> models;  ///< the static ones that it gives numbers of
};

/// Figure 2 of [Glavas24] (and 10, which is the same of other data): how much of the samples each
/// depth gets under each budget, and the oracle's and the static models' quality. `paper` is drawn
/// beside; not where costs are not layers.
Figure selection_figure(const ScoreTable& table, const OracleAnalysis& analysis, std::string id,
                        std::string title, const std::optional<PaperOracle>& paper);

/// Figure 8: static models, the greedy oracle, the oracle.
Figure advantage_figure(const ScoreTable& table, const OracleAnalysis& analysis);

/// Figure 9: shares of each depth by length of the label, a panel a budget. There must be tests.
Figure length_figure(const ScoreTable& table, const OracleAnalysis& analysis);

/// Those of the three that the table allows.
std::vector<Figure> oracle_figures(const ScoreTable& table, const OracleAnalysis& analysis);

/// What budgets count: "layers", "layers x tokens" or "seconds".
std::string_view cost_name(CostUnit unit);

/// The budget at which the oracle equals the deepest model, as a share of that model's cost.
double share_of_full(const OracleAnalysis& analysis);
/// The same as a sentence, with its interval.
std::string match_text(const ScoreTable& table, const OracleAnalysis& analysis);
/// By depth: the share of the samples that get it.
std::vector<double> shares_of(const BudgetPoint& point);
/// A row a budget, with all digits.
Table budget_table(const ScoreTable& table, const OracleAnalysis& analysis);

}  // namespace fathom
