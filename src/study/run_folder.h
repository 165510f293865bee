#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "study/result_store.h"

namespace fathom {

/// What a run is: everything that its results depend on, and where they came from.
struct RunConfig {
  std::string study;                  ///< "similarity"
  std::vector<std::string> versions;  ///< of fathom that measured in it, the oldest first
  std::string command;                ///< the latest command line
  std::string model_path, model_name, model_sha256;
  std::int32_t layers = 0;  ///< of the model
  std::string data_path, data_sha256;
  std::string data_kind;           ///< of its first row, as data/ calls it
  std::uint64_t rows = 0;          ///< of the data, how many from the first on are measured
  nlohmann::ordered_json options;  ///< the study's own, each of which changes results
};

/// As config.json holds it.
nlohmann::ordered_json to_json(const RunConfig& config);
/// Throws FileError that names `file` if it is no such object.
RunConfig run_config_from_json(const nlohmann::json& json, std::string_view file);

/// The only process that writes into a folder, for as long as this lives. Another one is refused;
/// a killed one is not in the way.
class FolderLock {
 public:
  /// Throws FileError if another process has it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_;
};

/// A run's folder: run.sqlite with the results, config.json with what they are of, and whatever is
/// made from them.
class RunFolder {
 public:
  /// Opens a folder to measure in, or makes it. Throws FileError if
  /// - another process writes there, or the folder holds something else;
  /// - it was made with other options that change results: the message names what differs;
  /// - it has results of more rows than `wanted` asks for. More rows extend it;
  /// - the store is damaged: the message says what was kept. The damaged file is moved aside and a
  ///   whole one takes its place, so that the same command then goes on.
  static RunFolder open_to_measure(const std::filesystem::path& path, const RunConfig& wanted);
  /// Opens a folder to report on, while another process may be measuring in it. Throws FileError
  /// if it is no run's folder or its store is damaged.
  static RunFolder open_to_report(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const RunConfig& config() const { return config_; }
  /// What the user should know, for instance that another version began this run.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  [[nodiscard]] ResultStore& store() { return store_; }
  [[nodiscard]] const ResultStore& store() const { return store_; }

  /// Writes one of the files made from the results, whole or not at all.
  void write(std::string_view name, std::string_view bytes) const;

 private:
  RunFolder(std::filesystem::path path, std::optional<FolderLock> lock, ResultStore store);
  void read_config();
  void adopt(const RunConfig& wanted);

  std::filesystem::path path_;
  std::optional<FolderLock> lock_;  // none where it is only reported on
  ResultStore store_;
  RunConfig config_;
  std::vector<std::string> warnings_;
};

}  // namespace fathom
