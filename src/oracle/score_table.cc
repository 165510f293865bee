#include "oracle/score_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"

namespace fathom {
namespace {

constexpr std::string_view tokens_prefix = "tokens_";
constexpr double bin_width = 15;
// More are taken for a file that is no table of scores.
constexpr std::size_t most_columns = 1000;

// A text's number, if it is one and nothing else.
std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A cell as a message shows it: short, printable ASCII.
std::string shown(std::string_view cell) {
  constexpr std::size_t longest = 40;
  std::string text = "'";
  for (const char c : cell.substr(0, longest)) text += c >= ' ' && c <= '~' ? c : '?';
  return text + (cell.size() > longest ? "...'" : "'");
}

// The rows of a CSV text, one after the other.
class CsvReader {
 public:
  CsvReader(std::string_view text, std::string file) : rest_(text), file_(std::move(file)) {}

  // The next row's cells, which are valid until the next call; false at the end. Empty lines are
  // passed over.
  bool next(std::vector<std::string_view>& cells) {
    while (!rest_.empty() && (rest_.front() == '\n' || rest_.front() == '\r')) {
      if (rest_.front() == '\n') ++lines_;
      rest_.remove_prefix(1);
    }
    if (rest_.empty()) return false;
    ++row_;
    line_ = ++lines_;
    cells.clear();
    unquoted_.clear();
    do cells.push_back(cell());
    while (ended_by_comma_);
    return true;
  }
  // "row 2 (line 3)": rows count from 1 after the header.
  [[nodiscard]] std::string place() const {
    return row_ == 1 ? "header" : fmt::format("row {} (line {})", row_ - 1, line_);
  }

 private:
  std::string_view cell() {
    if (rest_.starts_with('"')) return quoted_cell();
    const std::size_t end = std::min(rest_.find_first_of(",\n"), rest_.size());
    std::string_view cell = rest_.substr(0, end);
    end_cell(end);
    if (!ended_by_comma_ && cell.ends_with('\r')) cell.remove_suffix(1);
    return cell;
  }

  std::string_view quoted_cell() {
    std::string text;
    std::size_t i = 1;
    while (true) {
      const std::size_t quote = rest_.find('"', i);
      if (quote == std::string_view::npos) throw FileError(file_, place(), "a quote is not closed");
      text += rest_.substr(i, quote - i);
      i = quote + 1;
      if (i == rest_.size() || rest_[i] != '"') break;
      text += '"';
      ++i;
    }
    lines_ += static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    if (rest_.substr(i).starts_with("\r\n")) ++i;
    if (i < rest_.size() && rest_[i] != ',' && rest_[i] != '\n') {
      throw FileError(file_, place(), "text after a closing quote");
    }
    end_cell(i);
    unquoted_.push_back(std::make_unique<std::string>(std::move(text)));
    return *unquoted_.back();
  }

  void end_cell(std::size_t end) {
    ended_by_comma_ = end < rest_.size() && rest_[end] == ',';
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
  }

  std::string_view rest_;
  std::string file_;
  std::size_t row_ = 0;
  std::size_t line_ = 0;   // of the row's beginning
  std::size_t lines_ = 0;  // read so far
  bool ended_by_comma_ = false;
  std::vector<std::unique_ptr<std::string>> unquoted_;
};

// Where in a row to find what.
struct Columns {
  std::size_t count = 0;
  std::vector<std::string> names;
  std::vector<std::size_t> quality;  // by depth
  std::vector<std::size_t> tokens;   // by depth, or empty
  std::optional<std::size_t> label_tokens;
};

Columns read_header(std::span<const std::string_view> header, const std::string& file,
                    ScoreTable& table) {
  const auto fail = [&](std::string_view column, std::string_view problem) {
    throw FileError(file, fmt::format("header, column {}", shown(column)), problem);
  };
  if (header.size() > most_columns) {
    throw FileError(
        file, "header",
        fmt::format("{} columns found, at most {} expected", header.size(), most_columns));
  }
  Columns columns{.count = header.size()};
  columns.names.assign(header.begin(), header.end());
  std::vector<std::pair<double, std::size_t>> depths;
  bool has_id = false;
  bool has_tokens = false;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const std::string_view name = header[i];
    if (std::find(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(i), name) !=
        header.begin() + static_cast<std::ptrdiff_t>(i)) {
      fail(name, "named twice");
    }
    if (name == "id") {
      has_id = true;
    } else if (name == "label_tokens") {
      columns.label_tokens = i;
    } else if (name.starts_with(tokens_prefix)) {
      has_tokens = true;
    } else if (const std::optional<double> layers = number_in(name);
               layers && std::isfinite(*layers) && *layers > 0) {
      depths.emplace_back(*layers, i);
    } else {
      fail(name, "expected 'id', a cost such as '8', 'label_tokens' or 'tokens_8'");
    }
  }
  if (!has_id) throw FileError(file, "header", "no column 'id'");
  if (depths.empty()) throw FileError(file, "header", "no column named by a cost, such as '8'");
  std::sort(depths.begin(), depths.end());
  for (std::size_t d = 0; d < depths.size(); ++d) {
    const auto& [layers, column] = depths[d];
    if (d > 0 && layers == depths[d - 1].first) fail(header[column], "its cost is named twice");
    table.depths.emplace_back(header[column]);
    table.layers.push_back(layers);
    columns.quality.push_back(column);
    if (!has_tokens) continue;
    const std::string name = std::string(tokens_prefix) + table.depths.back();
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end()) {
      throw FileError(file, "header", fmt::format("no column '{}', though others have one", name));
    }
    columns.tokens.push_back(static_cast<std::size_t>(found - header.begin()));
  }
  for (std::size_t i = 0; has_tokens && i < header.size(); ++i) {
    if (header[i].starts_with(tokens_prefix) &&
        std::find(columns.tokens.begin(), columns.tokens.end(), i) == columns.tokens.end()) {
      fail(header[i], "there is no such cost");
    }
  }
  return columns;
}

enum class Sign { any, not_negative };

}  // namespace

ScoreTable read_scores(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto* const text = reinterpret_cast<const char*>(file.bytes().data());
  CsvReader reader({text, file.bytes().size()}, file.path());
  ScoreTable table;
  std::vector<std::string_view> cells;
  if (!reader.next(cells)) throw FileError(file.path(), "", "empty, a header expected");
  const Columns columns = read_header(cells, file.path(), table);
  const std::size_t depths = table.depths.size();
  if (!columns.tokens.empty()) table.unit = CostUnit::layer_tokens;
  table.choices.choices = depths;
  while (reader.next(cells)) {
    if (cells.size() != columns.count) {
      // The first column that is missing, or the last one that is there.
      const std::size_t at = std::min(cells.size(), columns.count - 1);
      throw FileError(file.path(),
                      fmt::format("{}, column {}", reader.place(), shown(columns.names[at])),
                      fmt::format("{} cells found, {} expected", cells.size(), columns.count));
    }
    const auto number = [&](std::size_t column, Sign sign) {
      const std::string_view cell = cells[column];
      const std::optional<double> value = number_in(cell);
      if (!value || !std::isfinite(*value) || (sign == Sign::not_negative && *value < 0)) {
        throw FileError(
            file.path(), fmt::format("{}, column {}", reader.place(), shown(columns.names[column])),
            fmt::format("{} found, a {} expected", cell.empty() ? "nothing" : shown(cell),
                        sign == Sign::any ? "finite number" : "number of at least 0"));
      }
      return *value;
    };
    for (std::size_t d = 0; d < depths; ++d) {
      table.choices.quality.push_back(number(columns.quality[d], Sign::any));
      const double tokens =
          columns.tokens.empty() ? 1 : number(columns.tokens[d], Sign::not_negative);
      table.choices.cost.push_back(tokens * table.layers[d]);
    }
    if (columns.label_tokens) {
      table.label_tokens.push_back(number(*columns.label_tokens, Sign::not_negative));
    }
  }
  if (table.samples() == 0) throw FileError(file.path(), "", "a header without rows");
  return table;
}

double mean_quality(const ScoreTable& table, std::size_t depth) {
  double sum = 0;
  for (std::size_t s = 0; s < table.samples(); ++s) sum += table.quality(s, depth);
  return sum / static_cast<double>(table.samples());
}

double mean_cost(const ScoreTable& table, std::size_t depth) {
  double sum = 0;
  for (std::size_t s = 0; s < table.samples(); ++s) sum += table.cost(s, depth);
  return sum / static_cast<double>(table.samples());
}

std::vector<double> greedy_oracle(const ScoreTable& table) {
  std::vector<double> means(table.depths.size());
  for (std::size_t s = 0; s < table.samples(); ++s) {
    double best = table.quality(s, 0);
    for (std::size_t d = 0; d < means.size(); ++d) {
      best = std::max(best, table.quality(s, d));
      means[d] += best;
    }
  }
  for (double& mean : means) mean /= static_cast<double>(table.samples());
  return means;
}

std::size_t length_bin(double label_tokens) {
  const double bin = std::ceil(label_tokens / bin_width) - 1;
  return static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(length_bins - 1)));
}

std::vector<std::vector<std::uint64_t>> depths_by_length(const ScoreTable& table,
                                                         std::span<const std::uint32_t> depths) {
  std::vector<std::vector<std::uint64_t>> counts(length_bins,
                                                 std::vector<std::uint64_t>(table.depths.size()));
  for (std::size_t s = 0; s < table.samples(); ++s) {
    ++counts[length_bin(table.label_tokens[s])][depths[s]];
  }
  return counts;
}

}  // namespace fathom
