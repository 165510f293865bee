#include "report/table.h"

#include <span>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

namespace fathom {
namespace {

void append_cell(std::string& csv, std::string_view cell) {
  if (cell.find_first_of(",\"\r\n") == std::string_view::npos) {
    csv += cell;
    return;
  }
  csv += '"';
  for (const char c : cell) {
    if (c == '"') csv += '"';
    csv += c;
  }
  csv += '"';
}

void append_row(std::string& csv, std::span<const std::string> cells) {
  // An empty line is no row to many readers.
  if (cells.size() == 1 && cells.front().empty()) csv += "\"\"";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) csv += ',';
    append_cell(csv, cells[i]);
  }
  csv += '\n';
}

}  // namespace

void check(const Table& table) {
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    if (table.rows[row].size() != table.columns.size()) {
      throw std::invalid_argument(fmt::format("a table has {} columns, but its row {} has {} cells",
                                              table.columns.size(), row, table.rows[row].size()));
    }
  }
}

std::string to_csv(const Table& table) {
  check(table);
  std::string csv;
  append_row(csv, table.columns);
  for (const std::vector<std::string>& row : table.rows) append_row(csv, row);
  return csv;
}

}  // namespace fathom
