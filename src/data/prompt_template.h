#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json_file.h"

namespace fathom {

/// How a prompt is made of a row's fields: text in which {name} stands for the field of that name.
/// {{ and }} are braces.
class PromptTemplate {
 public:
  /// Throws InputError that quotes the text if a brace is not closed or not opened, or a name is
  /// empty.
  static PromptTemplate parse(std::string_view text);
  /// One field and nothing else.
  static PromptTemplate of_field(std::string name);

  /// The prompt of a row. Throws FileError that names the row and the field if the row has no such
  /// field or it is no string.
  [[nodiscard]] std::string fill(const JsonFields& row) const;

 private:
  struct Piece {
    std::string text;
    std::optional<std::string> field;  // what comes after the text; none at the end
  };

  std::vector<Piece> pieces_;
};

}  // namespace fathom
