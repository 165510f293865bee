#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "study/sqlite.h"

namespace fathom {

/// What a study measured of one sample on one route.
struct Result {
  std::uint64_t sample = 0;  ///< a row of the data set, from 0
  std::string route;         ///< as the policy grammar writes it
  std::string value;         ///< the study's own text

  friend bool operator==(const Result&, const Result&) = default;
};

/// Thrown for a store whose content is not what was written. It carries what is whole.
class DamagedStore : public FileError {
 public:
  DamagedStore(const std::filesystem::path& path, std::string_view problem,
               std::optional<std::string> description, std::vector<Result> results);

  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] const std::optional<std::string>& description() const { return description_; }
  [[nodiscard]] const std::vector<Result>& results() const { return results_; }

 private:
  std::string problem_;
  std::optional<std::string> description_;
  std::vector<Result> results_;
};

/// The results of a run and one text that describes it, in an SQLite file in WAL mode. A result is
/// there once put() returns, whatever then happens to the process. SQLite does not check the bytes
/// that it keeps, so every text has a hash beside it.
///
/// All functions throw FileError that names the file if the system fails them: disk full, file
/// locked by another program, no permission.
class ResultStore {
 public:
  /// Makes the file, which must not be there yet. It appears whole or not at all.
  static ResultStore create(const std::filesystem::path& path, std::string_view description);
  /// Opens a file and reads all of it once. Throws DamagedStore if anything in it is broken.
  static ResultStore open(const std::filesystem::path& path);

  [[nodiscard]] const std::string& description() const { return description_; }
  void set_description(std::string_view description);

  /// Replaces what is there of the same sample and route.
  void put(const Result& result);
  /// As many put() in one transaction: all or none.
  void put(const std::vector<Result>& results);
  /// The routes that a sample has results of.
  [[nodiscard]] std::set<std::string> routes_of(std::uint64_t sample) const;
  /// All results, by sample and then by the route's name.
  [[nodiscard]] std::vector<Result> results() const;

 private:
  ResultStore(std::filesystem::path path, Database database, std::string description);

  std::filesystem::path path_;
  Database database_;
  std::string description_;
};

}  // namespace fathom
