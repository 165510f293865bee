#include "text/normalizer.h"

#include "text/unicode.h"

namespace fathom {
namespace {

std::string after(const NfcStep&, std::string text) { return nfc(text); }

std::string after(const PrependStep& step, std::string text) {
  return text.empty() ? text : step.text + text;
}

std::string after(const Replacement& step, std::string text) { return replaced(text, step); }

}  // namespace

std::string Normalizer::apply(std::string_view text) const {
  std::string result(text);
  for (const NormalizerStep& step : steps_) {
    result = std::visit([&](const auto& s) { return after(s, std::move(result)); }, step);
  }
  return result;
}

}  // namespace fathom
