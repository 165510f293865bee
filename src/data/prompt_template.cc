#include "data/prompt_template.h"

#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace fathom {

PromptTemplate PromptTemplate::parse(std::string_view text) {
  PromptTemplate result;
  Piece piece;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      piece.text += c;
    } else if (i + 1 < text.size() && text[i + 1] == c) {
      piece.text += c;
      ++i;
    } else {
      const std::size_t end = text.find_first_of("{}", i + 1);
      if (c == '}' || end == std::string_view::npos || text[end] == '{' || end == i + 1) {
        throw InputError(fmt::format(
            "template '{}': expected {{FIELD}} at character {}; a brace itself is written twice",
            text, i + 1));
      }
      piece.field = text.substr(i + 1, end - i - 1);
      result.pieces_.push_back(std::exchange(piece, {}));
      i = end;
    }
  }
  if (!piece.text.empty()) result.pieces_.push_back(std::move(piece));
  return result;
}

PromptTemplate PromptTemplate::of_field(std::string name) {
  PromptTemplate result;
  result.pieces_.push_back({.text = "", .field = std::move(name)});
  return result;
}

std::string PromptTemplate::fill(const JsonFields& row) const {
  std::string prompt;
  for (const Piece& piece : pieces_) {
    prompt += piece.text;
    if (piece.field) prompt += row.require_string(*piece.field);
  }
  return prompt;
}

}  // namespace fathom
