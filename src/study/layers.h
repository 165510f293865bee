#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/thread_team.h"
#include "data/examples.h"
#include "data/prompt_maker.h"
#include "generate/generator.h"
#include "model/language_model.h"
#include "model/model_files.h"
#include "study/forced_response.h"
#include "study/layer_search.h"
#include "study/run_folder.h"

namespace fathom {

/// The study of which layers a model can best do without.
struct LayersOptions {
  std::size_t beam = 4;                  ///< width of the beam search
  std::size_t random_routes = 200;       ///< to compare with
  std::size_t max_response_tokens = 48;  ///< of each answer, so many from its first on
  std::uint64_t seed = 0;                ///< of the split into halves, and of random routes
};

/// The options as the run's description holds them, and back. Reading throws FileError that names
/// `file`.
nlohmann::ordered_json to_json(const LayersOptions& options);
LayersOptions layers_options_from_json(const nlohmann::json& json, std::string_view file);

/// What a row is for: routes are found on one half of the rows and reported on the other.
enum class Half { search, held_out };
std::string_view name(Half half);

/// Of two rows that follow each other in the data, one is in either half: which is drawn.
Half half_of(std::uint64_t sample, std::uint64_t seed);

/// Measures what `folder` does not have yet: the searches on one half of its rows, then every route
/// that is reported on the other. Each result is in the store once it is measured. Returns false if
/// `stop` was set before the end. Throws FileError if the store fails, or if a half has no row that
/// can be measured.
///
/// A row that does not fit into the model's context, or whose answer is of fewer than two tokens,
/// is left out and so recorded. The prompts of the search's half are held as KV caches meanwhile.
bool measure_layers(LanguageModel& model, ThreadTeam& team, const ModelFiles& files,
                    const PromptMaker& prompts, std::span<const Example> examples,
                    const LayersOptions& options, RunFolder& folder, const StopFlag& stop);

/// One row of the data with what was measured of it.
struct LayersRow {
  std::uint64_t sample = 0;
  std::string id;
  std::optional<std::string> left_out;  ///< why nothing was measured
  Half half = Half::search;
  std::size_t prompt_tokens = 0, response_tokens = 0;
  double full_nll = 0;
  std::vector<double> influence;               ///< [L] block influence
  std::map<std::string, double> searched;      ///< NLL by the route's layers, where half is search
  std::map<std::string, RouteEffect> effects;  ///< by the route's layers, where it is held_out
};

/// A route with where it comes from.
struct NamedRoute {
  std::string method;  ///< "beam", "uniform", ...
  Route route;
  std::optional<double> search_nll;  ///< on the search's half, where the method looked at that
};

/// A complete run: all rows, and all routes that were measured on the held-out ones, by method and
/// then by cost. The routes of method "leave-one-out" are without layer 1, 2, ... in turn.
struct LayersRun {
  std::vector<LayersRow> searched, held_out, left_out;
  std::vector<NamedRoute> routes;
};

/// What a run's store holds. Throws FileError if a value is not of this study or something is
/// missing yet.
LayersRun read_layers(const RunFolder& folder, const LayersOptions& options);

}  // namespace fathom
