#include "train/training_example.h"

#include "base/error.h"

namespace fathom {

void require_examples(const std::vector<TrainingExample>& examples, const ModelConfig& config,
                      const std::string& purpose) {
  if (examples.empty()) throw InputError("there are no rows to " + purpose);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const TrainingExample& example = examples[i];
    const std::string row = "row " + std::to_string(i + 1) + " to " + purpose;
    if (example.prompt == 0 || example.prompt >= example.tokens.size()) {
      throw InputError(row + ": expected a prompt and a response of at least one token each");
    }
    if (example.tokens.size() > config.context) {
      throw InputError(row + ": " + std::to_string(example.tokens.size()) +
                       " tokens found; the model has a context of " +
                       std::to_string(config.context));
    }
  }
}

std::vector<std::size_t> lengths_of(const std::vector<TrainingExample>& examples) {
  std::vector<std::size_t> lengths;
  for (const TrainingExample& example : examples) lengths.push_back(example.tokens.size());
  return lengths;
}

}  // namespace fathom
