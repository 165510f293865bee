#include "text/replacement.h"

#include <algorithm>
#include <cstddef>

namespace fathom {

std::string replaced(std::string_view text, const Replacement& replacement) {
  std::string result;
  result.reserve(text.size());
  std::size_t done = 0;
  for (;;) {
    const std::size_t at = text.find(replacement.pattern, done);
    result.append(text.substr(done, at == std::string_view::npos ? at : at - done));
    if (at == std::string_view::npos) return result;
    result += replacement.content;
    done = at + replacement.pattern.size();
  }
}

std::string replaced(std::string_view text, const std::vector<Replacement>& replacements) {
  std::string result(text);
  for (const Replacement& replacement : replacements) result = replaced(result, replacement);
  return result;
}

double largest_growth(const std::vector<Replacement>& replacements) {
  double growth = 1;
  for (const Replacement& replacement : replacements) {
    growth *= std::max(1.0, static_cast<double>(replacement.content.size()) /
                                static_cast<double>(replacement.pattern.size()));
  }
  return growth;
}

}  // namespace fathom
