#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/strong_types.h"
#include "model/model_config.h"

namespace fathom {

/// A row to train on: the prompt's tokens, then the response's, which alone count for the loss.
struct TrainingExample {
  std::vector<TokenId> tokens;
  std::size_t prompt = 0;  ///< how many are the prompt's: at least one, and fewer than there are
};

/// Throws InputError if there are no examples, or one has no prompt, no response, or more tokens
/// than the model's context. `purpose` is what they are for, as messages have it.
void require_examples(const std::vector<TrainingExample>& examples, const ModelConfig& config,
                      const std::string& purpose = "train on");

/// How many tokens each has.
std::vector<std::size_t> lengths_of(const std::vector<TrainingExample>& examples);

}  // namespace fathom
