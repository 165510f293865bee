#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "report/table.h"

namespace fathom {

/// A figure: what it shows, how it is drawn, and its numbers as a table.
struct Figure {
  /// A file name's stem, and where the page's address may point to: "fig1a". Of letters, digits,
  /// "-" and "_"; no two figures of a report have the same.
  std::string id;
  std::string title;    ///< "Figure 1a: similarity against cost"
  std::string caption;  ///< what to see in it, in a sentence or two
  /// Vega-Lite 5 or later, its data inlined: one view, a "concat" of views of equal size, or one
  /// view with facets. What "concat" and a "facet" of one field hold is laid out in as many columns
  /// as there is room for. It says nothing of size or colours of text and background: the page
  /// does, for light and dark, screens of any width, and paper. Tooltips are on for all marks but
  /// lines and areas, which stand for many numbers: points over a line have them.
  nlohmann::ordered_json spec;
  /// A panel's width over its height, where that matters: 1 for a square heatmap. Otherwise panels
  /// are as wide as there is room.
  std::optional<double> panel_aspect;
  Table table;  ///< what the figure draws
};

/// What a test says of a claim. "Cannot tell" is not "does not hold".
enum class Outcome { holds, does_not_hold, cannot_tell };
std::string_view name(Outcome outcome);  ///< "holds", "does not hold", "cannot tell"

struct Verdict {
  std::string claim;   ///< as a sentence
  std::string source;  ///< where the claim is made: "[Glavas24 3.1, fig. 1a]"
  Outcome outcome = Outcome::cannot_tell;
  std::string evidence;  ///< the test and its figures
};

/// A name and its value: "model", "SmolLM2-135M-Instruct".
using Fact = std::pair<std::string, std::string>;

/// A study's results as one page. All text is plain: the page escapes it.
struct Report {
  std::string title;
  std::string summary;                ///< the result in a few sentences
  std::vector<std::string> warnings;  ///< shown first, for instance that the run is not complete
  std::vector<Fact> facts;            ///< what was measured, on what
  std::vector<Verdict> verdicts;
  std::vector<Figure> figures;
  std::vector<std::string> choices;  ///< what was decided where the paper is silent
  std::string command;               ///< the exact command that made the results
  std::vector<Fact> provenance;      ///< versions, seed, hashes
};

/// One self-contained HTML file: no other file and no network is needed to read it, and none is
/// used. What is empty is left out. Throws std::invalid_argument if a figure's id, panel_aspect or
/// table is not as described above.
std::string to_html(const Report& report);

}  // namespace fathom
