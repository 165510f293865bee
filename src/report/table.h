#pragma once

#include <string>
#include <vector>

namespace fathom {

/// A table as people read it: cells are text, numbers already rounded. Every row has one cell a
/// column.
struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

/// Throws std::invalid_argument (row, cells, columns) if a row has not one cell a column.
void check(const Table& table);

/// The table as a CSV file [RFC 4180], its header first, lines ended by "\n". A cell is quoted only
/// if it has to be. Throws as check() does.
std::string to_csv(const Table& table);

}  // namespace fathom
