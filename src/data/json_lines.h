#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace fathom {

/// A line of a file of JSON Lines.
struct JsonLine {
  std::size_t number = 0;  ///< from 1
  std::string place;       ///< for messages: "FILE: line 3"
  nlohmann::json value;
};

/// Reads a file of JSON Lines, one value a line. Lines of white space are passed over.
class JsonLineReader {
 public:
  /// Throws FileError if the file cannot be opened.
  explicit JsonLineReader(const std::filesystem::path& path);
  /// The next line, if there is one. Throws FileError that names the line if it is longer than
  /// 64 MiB or is no JSON (as parse_json says).
  std::optional<JsonLine> next();

 private:
  std::string name_;
  std::ifstream in_;
  std::string line_;
  std::size_t number_ = 0;
};

/// What a row goes by: its "id", as text if it is none, else its line's number.
std::string row_id(const JsonLine& row);

}  // namespace fathom
