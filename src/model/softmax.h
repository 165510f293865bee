#pragma once

#include <span>

#include "model/language_model.h"

namespace fathom {

/// What exp_in_place() gives for numbers of which the exponential no longer matters in a sum from 1
/// on is below this.
inline constexpr float negligible_exponential = 1.7e-38F;

/// The exponentials of numbers up to 0, to about two units in the last place; what is below -87
/// counts as that. NaN stays NaN.
void exp_in_place(std::span<float> values);

/// The greatest value; NaNs are passed over, and minus infinity is what there is without others.
float maximum(std::span<const float> values);

/// In double; added in an order that depends on the size alone.
double sum(std::span<const float> values);

/// Throws the InputError that says that a model's logits are no numbers.
[[noreturn]] void refuse_logits();

/// log(sum of exp(logits)), in double. Throws InputError if no logit is a number.
double log_sum_exp(std::span<const float> logits);

/// The probability of the likeliest token less that of the next one, from 0 to 1, under the softmax
/// of the logits: how sure a model is [Schuster et al., Confident Adaptive Language Modeling, 2022,
/// "softmax response"]. NaN if a logit is NaN. Throws InputError if none is a number.
float softmax_margin(const LogitRow& logits);

}  // namespace fathom
