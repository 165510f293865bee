#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/examples.h"
#include "data/prompt_maker.h"
#include "generate/generator.h"
#include "model/language_model.h"
#include "model/model_files.h"
#include "study/run_folder.h"

namespace fathom {

/// Which response is teacher-forced.
enum class ResponseSource {
  labels,     ///< the data set's
  generated,  ///< the full model's own, greedy
};
std::string_view name(ResponseSource source);

/// The study of how similar a routed model's hidden states are to the full model's
/// [Glavas24 3.1, A.3].
struct SimilarityOptions {
  std::vector<std::string> kinds;   ///< of routes, as in the policy grammar: "first", "block"
  std::vector<std::int32_t> costs;  ///< layers run, ascending
  ResponseSource on = ResponseSource::labels;
  std::size_t max_new_tokens = 128;  ///< of generated responses
  std::uint64_t seed = 0;            ///< of random routes
};

/// The kinds of routes that the study knows, in the order it shows them.
std::span<const std::string_view> similarity_kinds();

/// The options as the run's description holds them, and back. Reading throws FileError that names
/// `file`.
nlohmann::ordered_json to_json(const SimilarityOptions& options);
SimilarityOptions similarity_options_from_json(const nlohmann::json& json, std::string_view file);

/// Measures what `folder` does not have yet: every row of its run on every route of the options, in
/// the data's order. Each result is in the store once it is measured. Returns false if `stop` was
/// set before the end. Throws FileError if the store fails.
///
/// A row that does not fit into the model's context, or has no tokens, is left out and so recorded.
bool measure_similarity(LanguageModel& model, const ModelFiles& files, const PromptMaker& prompts,
                        std::span<const Example> examples, const SimilarityOptions& options,
                        RunFolder& folder, const StopFlag& stop);

/// One row on one route.
struct SimilarityResult {
  std::string layers;                       ///< those that ran: "1,3,5-9"
  double final = 0;                         ///< similarity of h^L
  double final_normed = 0;                  ///< the same after the final norm
  double intermediate = 0;                  ///< mean similarity of h^1..h^(L-1)
  double nll = 0;                           ///< mean over the response's tokens
  std::optional<double> nll_without_first;  ///< over y_2..y_T; none if T = 1
  std::vector<double> by_layer;             ///< [L] similarity of each h^l
};

/// One row of the data with what was measured of it.
struct SimilarityRow {
  std::uint64_t sample = 0;
  std::string id;
  std::optional<std::string> left_out;  ///< why nothing was measured
  std::size_t prompt_tokens = 0, response_tokens = 0;
  std::map<std::string, SimilarityResult> routes;  ///< by the route's policy: "uniform:15"
};

/// What a run's store holds, in the data's order. Rows of which some route is missing yet are left
/// out. Throws FileError if a value is not of this study.
std::vector<SimilarityRow> read_similarity(const RunFolder& folder,
                                           const SimilarityOptions& options);

}  // namespace fathom
