#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/atomic_file.h"
#include "formats/gguf.h"
#include "formats/tensor_type.h"

namespace fathom {

/// A number that GGUF metadata can hold, as that type: integers of 8 to 64 bits, float and double.
template <class T>
concept GgufNumber = std::is_arithmetic_v<T> && !std::same_as<T, bool>;

/// The number of a type in GGUF files.
template <GgufNumber T>
consteval GgufType gguf_type() {
  if constexpr (std::floating_point<T>) {
    return sizeof(T) == 4 ? GgufType::float32 : GgufType::float64;
  } else {
    constexpr bool is_signed = std::is_signed_v<T>;
    switch (sizeof(T)) {
      case 1:
        return is_signed ? GgufType::int8 : GgufType::uint8;
      case 2:
        return is_signed ? GgufType::int16 : GgufType::uint16;
      case 4:
        return is_signed ? GgufType::int32 : GgufType::uint32;
      default:
        return is_signed ? GgufType::int64 : GgufType::uint64;
    }
  }
}

/// What a GGUF file (version 3) says before its tensors' bytes: metadata, in the order in which it
/// is added, and what each tensor is. GgufOutput then writes it and the bytes.
class GgufHeader {
 public:
  /// Where tensors begin: multiples of `alignment`, a power of two. Writes no metadata; a file with
  /// another than the default must say so in `general.alignment`.
  explicit GgufHeader(std::uint64_t alignment = default_gguf_alignment) : alignment_(alignment) {}

  // Metadata. Throws InputError if a key is there already, or is empty or longer than 65,535 bytes.
  template <GgufNumber T>
  void add_number(std::string_view key, T value) {
    begin_value(key, gguf_type<T>());
    put(value);
  }
  void add_bool(std::string_view key, bool value);
  void add_string(std::string_view key, std::string_view value);
  template <GgufNumber T>
  void add_numbers(std::string_view key, std::span<const T> values) {
    begin_array(key, gguf_type<T>(), values.size());
    for (const T value : values) put(value);
  }
  void add_bools(std::string_view key, const std::vector<bool>& values);
  void add_strings(std::string_view key, std::span<const std::string> values);
  /// As another file has it.
  void add_entry(const GgufEntry& entry);

  /// The next tensor; `shape` is outermost dimension first. Throws InputError if the name is taken,
  /// empty or longer than 63 bytes, which is what ggml reads, or if the shape has not 1 to 4
  /// dimensions of at least 1, or rows that are no whole blocks of the type.
  void add_tensor(std::string_view name, TensorType type, std::span<const std::size_t> shape);

  /// Bytes of the whole file.
  [[nodiscard]] std::uint64_t file_bytes() const;
  /// Of each tensor, its bytes.
  [[nodiscard]] const std::vector<std::uint64_t>& tensor_bytes() const { return tensor_bytes_; }

 private:
  friend class GgufOutput;
  void begin_value(std::string_view key, GgufType type);
  void begin_array(std::string_view key, GgufType type, std::size_t count);
  template <class T>
  void put(T value) {
    append(metadata_, value);
  }
  void put_string(std::string_view text) { append_string(metadata_, text); }

  template <class T>
  static void append(std::string& to, T value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void append_string(std::string& to, std::string_view text);
  [[nodiscard]] std::uint64_t round_up(std::uint64_t size) const {
    return (size + alignment_ - 1) / alignment_ * alignment_;
  }
  /// The bytes before the first tensor's, padding included.
  [[nodiscard]] std::string bytes() const;
  [[nodiscard]] std::uint64_t data_begin() const;

  std::uint64_t alignment_;
  std::uint64_t metadata_count_ = 0;
  std::vector<std::string> keys_;   // sorted
  std::vector<std::string> names_;  // of tensors, sorted
  std::vector<std::uint64_t> tensor_bytes_;
  std::uint64_t data_end_ = 0;  // of the last tensor, from the start of the data
  std::string metadata_;
  std::string tensors_;
};

/// A GGUF file being written, tensor after tensor in the header's order, each in pieces of any
/// size: no more than a piece need be in memory. It appears under its name, whole, at commit().
class GgufOutput {
 public:
  /// Throws FileError if the file cannot be made or the disk has no room for all of it.
  GgufOutput(const std::filesystem::path& path, const GgufHeader& header);

  /// The next bytes of the tensor at hand. Throws FileError if they cannot be written; a piece that
  /// goes beyond the tensor's end is a defect.
  void append(std::span<const std::byte> piece);
  /// Throws FileError if the file cannot be synced or renamed into place. All tensors must be
  /// there.
  void commit();

 private:
  AtomicFile file_;
  std::uint64_t alignment_;
  std::vector<std::uint64_t> tensor_bytes_;
  std::size_t tensor_ = 0;       // the one at hand
  std::uint64_t in_tensor_ = 0;  // bytes of it that are written
};

}  // namespace fathom
