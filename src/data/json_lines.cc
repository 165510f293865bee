#include "data/json_lines.h"

#include <istream>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/json_file.h"

namespace fathom {
namespace {

// Longer lines are taken for a file that is no JSON Lines at all.
constexpr std::size_t longest_line = std::size_t{64} << 20;

// getline that refuses to read a line of any length into memory.
bool read_line(std::istream& in, std::string& line, const std::string& file, std::size_t number) {
  line.clear();
  for (int c = in.get(); c != std::istream::traits_type::eof(); c = in.get()) {
    if (c == '\n') return true;
    if (line.size() == longest_line) {
      throw FileError(file, fmt::format("line {}", number),
                      fmt::format("longer than {} bytes", longest_line));
    }
    line.push_back(static_cast<char>(c));
  }
  return !line.empty();
}

}  // namespace

JsonLineReader::JsonLineReader(const std::filesystem::path& path) : name_(path.string()) {
  if (std::filesystem::is_directory(path)) throw FileError(name_, "", "a folder, not a file");
  in_.open(path, std::ios::binary);
  if (!in_) throw FileError(name_, "", "cannot open");
}

std::optional<JsonLine> JsonLineReader::next() {
  while (read_line(in_, line_, name_, ++number_)) {
    if (line_.find_first_not_of(" \t\r") == std::string::npos) continue;
    JsonLine line{
        .number = number_, .place = fmt::format("{}: line {}", name_, number_), .value = {}};
    line.value = parse_json(line_, line.place);
    return line;
  }
  return std::nullopt;
}

std::string row_id(const JsonLine& row) {
  const auto id = row.value.find("id");
  if (id == row.value.end() || id->is_null()) return fmt::format("{}", row.number);
  return id->is_string() ? id->get<std::string>() : id->dump();
}

}  // namespace fathom
