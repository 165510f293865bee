#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/replacement.h"

namespace fathom {

/// Brings the text into Unicode's normalization form C.
struct NfcStep {
  friend bool operator==(const NfcStep&, const NfcStep&) = default;
};
/// Puts a text before every text that is not empty.
struct PrependStep {
  std::string text;
  friend bool operator==(const PrependStep&, const PrependStep&) = default;
};

using NormalizerStep = std::variant<NfcStep, PrependStep, Replacement>;

/// What is done to a text before it is cut: steps, one after another.
class Normalizer {
 public:
  explicit Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}

  [[nodiscard]] bool changes_nothing() const { return steps_.empty(); }
  /// The text after all steps. `text` is UTF-8.
  [[nodiscard]] std::string apply(std::string_view text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace fathom
