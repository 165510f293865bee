#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "formats/tensor_source.h"

namespace fathom {

/// One metadata value of a GGUF file. All integers are widened to 64 bits with their sign, all
/// floats to double; arrays are homogeneous.
using GgufValue =
    std::variant<bool, std::uint64_t, std::int64_t, double, std::string, std::vector<bool>,
                 std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>,
                 std::vector<std::string>>;

/// A GGUF file, version 2 or 3, little-endian: metadata read into memory, tensors as views of the
/// file's bytes. Nothing in the file is trusted: every count and size is held against the bytes
/// that are left before memory is taken.
class GgufFile {
 public:
  /// Throws FileError (file, place, found and expected) if anything about the file is wrong.
  static GgufFile open(const std::filesystem::path& path);
  /// The same of a file's bytes in memory, which must outlive all copies of the tensors. `origin`
  /// names the file in errors.
  static GgufFile parse(std::string origin, std::span<const std::byte> bytes);

  [[nodiscard]] const std::string& path() const { return tensors_.origin(); }
  [[nodiscard]] const TensorSource& tensors() const { return tensors_; }
  [[nodiscard]] const std::map<std::string, GgufValue, std::less<>>& metadata() const {
    return metadata_;
  }

  /// Typed reads of a metadata key. `find_` gives nullopt (nullptr for the arrays) if the key is
  /// absent; both forms throw FileError if the value is of another type or does not fit, and
  /// `require_` also if it is absent. Integers of either signedness convert if the value fits;
  /// integers and floats do not convert to each other. Floats are finite.
  [[nodiscard]] std::optional<std::uint64_t> find_unsigned(std::string_view key) const;
  [[nodiscard]] std::optional<double> find_float(std::string_view key) const;
  [[nodiscard]] std::optional<bool> find_bool(std::string_view key) const;
  [[nodiscard]] const std::string* find_string(std::string_view key) const;
  [[nodiscard]] const std::vector<std::string>* find_strings(std::string_view key) const;
  /// Any array of integers, as signed.
  [[nodiscard]] std::optional<std::vector<std::int64_t>> find_integers(std::string_view key) const;
  [[nodiscard]] std::uint64_t require_unsigned(std::string_view key) const;
  [[nodiscard]] double require_float(std::string_view key) const;
  [[nodiscard]] const std::string& require_string(std::string_view key) const;
  [[nodiscard]] const std::vector<std::string>& require_strings(std::string_view key) const;

 private:
  explicit GgufFile(std::string path) : tensors_(std::move(path)) {}

  std::map<std::string, GgufValue, std::less<>> metadata_;
  TensorSource tensors_;
};

}  // namespace fathom
