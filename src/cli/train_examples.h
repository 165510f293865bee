#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/examples.h"
#include "data/prompt_maker.h"
#include "model/model_files.h"
#include "train/training_example.h"

namespace fathom {

/// Prompts and answers as tokens, the answer ended as the model ends one. A row that has more than
/// `max_tokens`, or than the model's context, is cut, and `say` is given a line that says how many
/// were: a prompt may take a quarter of the tokens and keeps its end; the rest of an answer that is
/// too long is left out. Throws InputError if a row has no prompt or no response.
std::vector<TrainingExample> examples_of(const std::vector<Example>& rows, const ModelFiles& files,
                                         const PromptMaker& prompts, std::size_t max_tokens,
                                         const std::function<void(const std::string&)>& say);

/// Takes `count` rows that are not trained on, which depend on the seed alone, out of `rows`.
/// Throws InputError that names `option` if that leaves none.
std::vector<Example> hold_out(std::vector<Example>& rows, std::size_t count, std::uint64_t seed,
                              std::string_view option);

}  // namespace fathom
