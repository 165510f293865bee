#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace fathom {

/// A value inside a JSON file with the way to it, so that errors name the place. Refers to the
/// file's name and to the value, which must outlive it.
class JsonNode {
 public:
  JsonNode(const std::string& file, const nlohmann::json& value, std::string place)
      : file_(&file), value_(&value), place_(std::move(place)) {}

  /// Throws FileError.
  [[noreturn]] void fail(std::string_view problem) const;
  /// The same with "... is not supported".
  [[noreturn]] void refuse(std::string_view what) const;

  [[nodiscard]] const std::string& file() const { return *file_; }
  [[nodiscard]] const std::string& place() const { return place_; }
  [[nodiscard]] const nlohmann::json& json() const { return *value_; }

  /// Nullopt if there is no such key or its value is null. The key may come from the file. Throws
  /// FileError if this is no object.
  [[nodiscard]] std::optional<JsonNode> find(std::string_view key) const;
  /// Throws FileError if there is no such key, too.
  [[nodiscard]] JsonNode require(std::string_view key) const;
  /// Of an array; throws FileError if this is none.
  [[nodiscard]] std::size_t size() const;
  /// `i` must be below size().
  [[nodiscard]] JsonNode at(std::size_t i) const;

  /// Each throws FileError if the value is of another type.
  [[nodiscard]] const std::string& string() const;
  [[nodiscard]] std::size_t id() const;
  [[nodiscard]] bool flag(std::string_view key, bool otherwise) const;
  /// The string under a key, empty if there is none.
  [[nodiscard]] std::string text(std::string_view key) const;
  /// The string under "type".
  [[nodiscard]] const std::string& type() const { return require("type").string(); }

  void require_kind(bool is_that, std::string_view what) const;

 private:
  const std::string* file_;
  const nlohmann::json* value_;
  std::string place_;
};

}  // namespace fathom
