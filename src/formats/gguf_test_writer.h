#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "formats/tensor_type.h"

namespace fathom {

/// For tests: makes GGUF files, sound ones with the named calls and broken ones with the raw calls,
/// which write what they are told.
///
///     GgufTestWriter writer;
///     writer.add_string("general.architecture", "llama")
///         .add_number("llama.block_count", std::uint32_t{2})
///         .add_tensor("output_norm.weight", {4}, std::vector<float>{1, 1, 1, 1});
///     writer.write(path);
class GgufTestWriter {
 public:
  using Bytes = std::vector<std::byte>;

  /// Any integer of 8 to 64 bits, float or double, as that type.
  template <class T>
  requires std::is_arithmetic_v<T> &&
      (!std::same_as<T, bool>)GgufTestWriter& add_number(std::string_view key, T value) {
    return add_raw(key, type_id<T>(), bytes_of(value));
  }
  GgufTestWriter& add_bool(std::string_view key, bool value) {
    return add_raw(key, 7, bytes_of(static_cast<std::uint8_t>(value)));
  }
  GgufTestWriter& add_string(std::string_view key, std::string_view value) {
    return add_raw(key, 8, string_bytes(value));
  }
  template <class T>
  requires std::is_arithmetic_v<T> &&
      (!std::same_as<T, bool>)GgufTestWriter& add_numbers(std::string_view key,
                                                          const std::vector<T>& values) {
    Bytes elements;
    for (const T value : values) append(elements, bytes_of(value));
    return add_raw_array(key, type_id<T>(), values.size(), elements);
  }
  GgufTestWriter& add_bools(std::string_view key, const std::vector<bool>& values) {
    Bytes elements;
    for (const bool value : values) append(elements, bytes_of(static_cast<std::uint8_t>(value)));
    return add_raw_array(key, 7, values.size(), elements);
  }
  GgufTestWriter& add_strings(std::string_view key, const std::vector<std::string>& values) {
    Bytes elements;
    for (const std::string& value : values) append(elements, string_bytes(value));
    return add_raw_array(key, 8, values.size(), elements);
  }

  /// A tensor whose shape is outermost dimension first. Its bytes go where the last one's end.
  GgufTestWriter& add_tensor(std::string_view name, TensorType type,
                             const std::vector<std::size_t>& shape,
                             std::span<const std::byte> bytes) {
    const std::vector<std::uint64_t> innermost_first(shape.rbegin(), shape.rend());
    return add_raw_tensor(name, info(type).ggml_id, innermost_first, std::nullopt, bytes);
  }
  /// The same with float32 elements.
  GgufTestWriter& add_tensor(std::string_view name, const std::vector<std::size_t>& shape,
                             std::span<const float> elements) {
    return add_tensor(name, TensorType::F32, shape, std::as_bytes(elements));
  }

  /// Where tensors are laid out: multiples of this. Does not write general.alignment.
  GgufTestWriter& set_alignment(std::uint64_t alignment) {
    alignment_ = alignment;
    return *this;
  }
  GgufTestWriter& set_version(std::uint32_t version) {
    version_ = version;
    return *this;
  }

  GgufTestWriter& add_raw(std::string_view key, std::uint32_t type,
                          std::span<const std::byte> value) {
    append(metadata_, string_bytes(key));
    append(metadata_, bytes_of(type));
    append(metadata_, value);
    ++metadata_count_;
    return *this;
  }
  GgufTestWriter& add_raw_array(std::string_view key, std::uint32_t element_type,
                                std::uint64_t count, std::span<const std::byte> elements) {
    Bytes value = bytes_of(element_type);
    append(value, bytes_of(count));
    append(value, elements);
    return add_raw(key, 9, value);
  }
  /// `dimensions` innermost first, as the file has them. Without an offset, where the last one's
  /// bytes end.
  GgufTestWriter& add_raw_tensor(std::string_view name, std::uint32_t type,
                                 std::span<const std::uint64_t> dimensions,
                                 std::optional<std::uint64_t> offset,
                                 std::span<const std::byte> bytes) {
    data_.resize(round_up(data_.size()));
    append(tensors_, string_bytes(name));
    append(tensors_, bytes_of(static_cast<std::uint32_t>(dimensions.size())));
    for (const std::uint64_t extent : dimensions) append(tensors_, bytes_of(extent));
    append(tensors_, bytes_of(type));
    append(tensors_, bytes_of(offset.value_or(data_.size())));
    append(data_, bytes);
    ++tensor_count_;
    return *this;
  }

  /// Bytes before the tensors' data.
  [[nodiscard]] std::size_t header_bytes() const {
    return fixed_bytes + metadata_.size() + tensors_.size();
  }

  /// The file.
  [[nodiscard]] Bytes bytes() const {
    Bytes file;
    append(file, std::as_bytes(std::span("GGUF", 4)));
    append(file, bytes_of(version_));
    append(file, bytes_of(tensor_count_));
    append(file, bytes_of(metadata_count_));
    append(file, metadata_);
    append(file, tensors_);
    if (!data_.empty()) file.resize(round_up(file.size()));
    append(file, data_);
    return file;
  }

  void write(const std::filesystem::path& path) const {
    const Bytes file = bytes();
    std::ofstream stream(path, std::ios::binary | std::ios::trunc);
    stream.write(reinterpret_cast<const char*>(file.data()),
                 static_cast<std::streamsize>(file.size()));
    stream.close();
    if (!stream) throw std::runtime_error("cannot write " + path.string());
  }

  template <class T>
  static Bytes bytes_of(T value) {
    Bytes bytes(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  }
  static Bytes string_bytes(std::string_view text) {
    Bytes bytes = bytes_of(static_cast<std::uint64_t>(text.size()));
    append(bytes, std::as_bytes(std::span(text)));
    return bytes;
  }

 private:
  static constexpr std::size_t fixed_bytes = 24;  // magic, version, two counts

  template <class T>
  static constexpr std::uint32_t type_id() {
    if constexpr (std::same_as<T, float>) return 6;
    if constexpr (std::same_as<T, double>) return 12;
    constexpr bool is_signed = std::is_signed_v<T>;
    switch (sizeof(T)) {
      case 1:
        return is_signed ? 1 : 0;
      case 2:
        return is_signed ? 3 : 2;
      case 4:
        return is_signed ? 5 : 4;
      default:
        return is_signed ? 11 : 10;
    }
  }

  static void append(Bytes& to, std::span<const std::byte> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
  }
  [[nodiscard]] std::size_t round_up(std::size_t size) const {
    return (size + alignment_ - 1) / alignment_ * alignment_;
  }

  std::uint32_t version_ = 3;
  std::uint64_t alignment_ = 32;
  std::uint64_t metadata_count_ = 0;
  std::uint64_t tensor_count_ = 0;
  Bytes metadata_;
  Bytes tensors_;
  Bytes data_;
};

}  // namespace fathom
