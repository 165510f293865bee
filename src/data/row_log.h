#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "data/json_lines.h"

namespace fathom {

/// JSON Lines that long work writes one row at a time, so that a kill loses no row that was
/// written. Rows come in whatever order they are finished in; at the end they are put into one that
/// does not depend on that.
class RowLog {
 public:
  /// Opens a file to go on with, or makes it. `beginning` is the text that all rows begin with: a
  /// last line without an end that begins so is what a kill left, and makes way for the next row.
  /// Throws FileError if the file cannot be opened, is no regular file, ends with another
  /// unfinished line, or is held by another RowLog, in this process or in another one.
  RowLog(const std::filesystem::path& path, std::string_view beginning);
  ~RowLog();
  RowLog(const RowLog&) = delete;
  RowLog& operator=(const RowLog&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Calls `row` with each row in the file's order. Throws FileError that names the line if one is
  /// no JSON.
  void read(const std::function<void(const JsonLine& row)>& row) const;
  /// Adds a row, which has no line end. It is with the system when this returns. Throws FileError
  /// if it cannot be written.
  void append(std::string_view row);
  /// Puts the rows into another order: `rows` holds, for each, its number from 0. Whoever looks
  /// sees the old file or the new one. It is the last that is done with this. Throws FileError if
  /// it cannot be written.
  void reorder(std::span<const std::size_t> rows);

 private:
  void find_torn_line(std::string_view beginning);

  std::filesystem::path path_;
  int file_;
  std::size_t whole_ = 0;  // bytes of whole rows
  bool torn_ = false;      // whether more follows
};

}  // namespace fathom
