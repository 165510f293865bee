#include "model/language_model.h"

#include <stdexcept>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {

void check_steps(std::span<const SequenceStep> steps, const ModelConfig& config) {
  for (const SequenceStep& step : steps) {
    if (step.cache == nullptr || step.tokens.empty()) {
      throw std::logic_error("a step needs a cache and tokens");
    }
    if (step.role == RowRole::routed && step.selector == nullptr) {
      throw std::logic_error("routed rows need a selector");
    }
    if (step.cache->length() + step.tokens.size() > step.cache->capacity()) {
      throw InputError(fmt::format("{} tokens do not fit into a context of {}",
                                   step.cache->length() + step.tokens.size(),
                                   step.cache->capacity()));
    }
    if (step.entering &&
        (step.entering->layer.value < 0 || step.entering->layer.value > config.depth() ||
         step.entering->hidden.size() != step.tokens.size() * config.width)) {
      throw std::logic_error("a step's entering states are not [tokens][width] of a layer");
    }
    for (const TokenId token : step.tokens) {
      if (token.value < 0 || token.index() >= config.vocabulary) {
        throw InputError(fmt::format("token {} found; the vocabulary has 0 to {}", token.value,
                                     config.vocabulary - 1));
      }
    }
  }
}

void check_capacity(std::size_t capacity, const ModelConfig& config) {
  if (capacity == 0 || capacity > config.context) {
    throw InputError(fmt::format("a context of {} positions was asked for; the model has 1 to {}",
                                 capacity, config.context));
  }
}

}  // namespace fathom
