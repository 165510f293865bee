#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace fathom {

/// Parses a whole JSON text. Throws FileError (`file`, line and column, problem) if it is not valid
/// JSON, is nested deeper than 64 levels, names a key of an object twice, or holds more than 8
/// million values (a value takes up to 50 times the memory of its text).
nlohmann::json parse_json(std::string_view text, std::string_view file);

/// Parses a file that holds one JSON object. Throws FileError as parse_json does, and if the file
/// cannot be read, is larger than `max_bytes`, or holds something else than an object.
nlohmann::json read_json_object(const std::filesystem::path& path, std::size_t max_bytes);

/// Typed reads of the fields of a JSON object. Each throws FileError (file, key, found and
/// expected) if the field is of another type or does not fit; `require_` also if it is absent. A
/// field that is null counts as absent, as in the files that Hugging Face transformers writes.
/// Refers to the object, which must outlive it.
class JsonFields {
 public:
  /// Throws FileError if `object` is not a JSON object.
  JsonFields(std::string file, const nlohmann::json& object);

  /// An integer from 0 to `most`. A number written as a float is not an integer, whatever its
  /// value.
  [[nodiscard]] std::optional<std::uint64_t> find_unsigned(
      std::string_view key, std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) const;
  /// A finite number; integers convert.
  [[nodiscard]] std::optional<double> find_float(std::string_view key) const;
  [[nodiscard]] std::optional<bool> find_bool(std::string_view key) const;
  /// nullptr if absent.
  [[nodiscard]] const std::string* find_string(std::string_view key) const;
  [[nodiscard]] std::optional<std::vector<std::string>> find_strings(std::string_view key) const;
  /// An array of numbers, each as in find_float.
  [[nodiscard]] std::optional<std::vector<double>> find_floats(std::string_view key) const;
  /// One integer or an array of them, each as in find_unsigned: how token ids are given.
  [[nodiscard]] std::optional<std::vector<std::uint64_t>> find_one_or_more_unsigned(
      std::string_view key, std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) const;
  /// The fields of an object inside this one; messages name its keys as 'outer.inner'.
  [[nodiscard]] std::optional<JsonFields> find_object(std::string_view key) const;

  [[nodiscard]] std::uint64_t require_unsigned(
      std::string_view key, std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) const;
  [[nodiscard]] double require_float(std::string_view key) const;
  [[nodiscard]] bool require_bool(std::string_view key) const;
  [[nodiscard]] const std::string& require_string(std::string_view key) const;

  /// For a problem with a field that only its reader can see: throws FileError that names the key.
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const;

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const nlohmann::json& object() const { return *object_; }

 private:
  JsonFields(std::string file, std::string prefix, const nlohmann::json& object);

  [[nodiscard]] const nlohmann::json* find(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, const nlohmann::json& value,
                              std::string_view expected) const;
  [[noreturn]] void fail_missing(std::string_view key, std::string_view expected) const;
  [[nodiscard]] std::uint64_t to_unsigned(std::string_view key, const nlohmann::json& value,
                                          std::uint64_t most) const;
  [[nodiscard]] double to_float(std::string_view key, const nlohmann::json& value) const;

  std::string file_;
  std::string prefix_;  // of an inner object's keys: "outer."
  const nlohmann::json* object_;
};

}  // namespace fathom
