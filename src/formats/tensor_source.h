#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_type.h"

namespace fathom {

/// A tensor's bytes where they lie (a mapped file, a trainer's memory). Row-major.
struct TensorView {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<std::size_t> shape;    ///< outermost dimension first: a matrix is {rows, columns}
  std::span<const std::byte> bytes;  ///< exactly what type and shape need
  /// The type that rows are converted to where they are read (formats/quantize.h); that they are
  /// stored in, if nothing is said.
  std::optional<TensorType> converted = std::nullopt;

  [[nodiscard]] std::size_t elements() const;
  /// The type of the elements as they are used, and the bytes they would take.
  [[nodiscard]] TensorType used_type() const { return converted.value_or(type); }
  [[nodiscard]] std::size_t used_bytes() const;
};

/// Bytes that a tensor of this type and shape takes. Throws InputError if a row is no whole number
/// of blocks or the size does not fit in size_t.
std::size_t tensor_bytes(TensorType type, std::span<const std::size_t> shape);

/// Named tensors from one origin: a GGUF file, a safetensors folder, or weights in memory. It keeps
/// what the views point into alive. A value: copies share the bytes.
class TensorSource {
 public:
  /// `origin` names it in error messages: usually a path.
  explicit TensorSource(std::string origin) : origin_(std::move(origin)) {}

  /// Keeps `owner` alive as long as this source or a copy of it.
  void keep_alive(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }

  /// Throws FileError if the name is taken, or if the bytes are not what type and shape need.
  void add(TensorView tensor);

  /// A tensor that is there but cannot be read, of which it matters only whether somebody asks for
  /// it: the masks and counters that checkpoints hold beside the weights. Throws FileError if the
  /// name is taken.
  void refuse(std::string name, std::string why);

  /// The tensor, or nullptr if there is none of this name. Throws FileError if it is a refused one.
  [[nodiscard]] const TensorView* find(std::string_view name) const;

  /// The tensor, whose shape must be `shape`. Throws FileError if it is missing, refused or shaped
  /// otherwise.
  [[nodiscard]] const TensorView& require(std::string_view name,
                                          std::span<const std::size_t> shape) const;

  [[nodiscard]] const std::string& origin() const { return origin_; }
  /// All tensors that can be read, by name.
  [[nodiscard]] const std::map<std::string, TensorView, std::less<>>& tensors() const {
    return tensors_;
  }
  /// Why the others cannot be, by name.
  [[nodiscard]] const std::map<std::string, std::string, std::less<>>& refused() const {
    return refused_;
  }

 private:
  void require_free(const std::string& name) const;

  std::string origin_;
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> refused_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace fathom
