#pragma once

#include <span>

namespace fathom {

/// The cosine of the angle between two vectors of equal length, in [-1, 1]; summed in double,
/// always in the same order. Exactly 1 for a vector and itself. 0, by definition, if either has
/// norm 0; NaN if any element is NaN or infinite. Throws std::invalid_argument if the lengths
/// differ.
double cosine_similarity(std::span<const float> a, std::span<const float> b);

}  // namespace fathom
