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

/// The types of metadata values, by their numbers in the file.
enum class GgufType : std::uint32_t {
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  float32,
  boolean,
  string,
  array,
  uint64,
  int64,
  float64,
};

/// What tensors' places in a file are multiples of, where `general.alignment` says nothing else.
inline constexpr std::uint64_t default_gguf_alignment = 32;

/// One metadata value of a GGUF file. All integers are widened to 64 bits with their sign, all
/// floats to double; arrays are homogeneous.
using GgufValue =
    std::variant<bool, std::uint64_t, std::int64_t, double, std::string, std::vector<bool>,
                 std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>,
                 std::vector<std::string>>;

/// A metadata key and its value as a file has them: the number of the value's type, then the value.
/// Views of the file.
struct GgufEntry {
  std::string_view key;
  std::span<const std::byte> value;
};

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
  /// The same in the file's order and bytes, as good as long as a copy of tensors() lives.
  [[nodiscard]] const std::vector<GgufEntry>& entries() const { return entries_; }

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
  std::vector<GgufEntry> entries_;
  TensorSource tensors_;
};

}  // namespace fathom
