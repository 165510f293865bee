#include "formats/tensor_source.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace fathom {

std::size_t TensorView::elements() const {
  std::size_t n = 1;
  for (const std::size_t extent : shape) n *= extent;
  return n;
}

std::size_t TensorView::used_bytes() const {
  if (!converted) return bytes.size();
  return elements() / info(*converted).block_elements * info(*converted).block_bytes;
}

std::size_t tensor_bytes(TensorType type, std::span<const std::size_t> shape) {
  const TensorTypeInfo& type_info = info(type);
  constexpr std::size_t limit = std::numeric_limits<std::size_t>::max();
  std::size_t blocks = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::size_t extent = shape[i];
    if (i + 1 == shape.size()) {
      if (extent % type_info.block_elements != 0) {
        throw InputError(fmt::format("rows of {} elements are no whole number of {} blocks of {}",
                                     extent, type_info.name, type_info.block_elements));
      }
      extent /= type_info.block_elements;
    }
    if (extent != 0 && blocks > limit / extent) {
      throw InputError(fmt::format("shape [{}] overflows", fmt::join(shape, ", ")));
    }
    blocks *= extent;
  }
  if (blocks > limit / type_info.block_bytes) {
    throw InputError(fmt::format("shape [{}] overflows", fmt::join(shape, ", ")));
  }
  return blocks * type_info.block_bytes;
}

void TensorSource::add(TensorView tensor) {
  std::size_t expected = 0;
  try {
    expected = tensor_bytes(tensor.type, tensor.shape);
  } catch (const InputError& error) {
    throw FileError(origin_, fmt::format("tensor '{}'", tensor.name), error.what());
  }
  if (tensor.bytes.size() != expected) {
    throw FileError(origin_, fmt::format("tensor '{}'", tensor.name),
                    fmt::format("{} bytes found, {} expected for {} [{}]", tensor.bytes.size(),
                                expected, info(tensor.type).name, fmt::join(tensor.shape, ", ")));
  }
  require_free(tensor.name);
  std::string name = tensor.name;
  tensors_.emplace(std::move(name), std::move(tensor));
}

void TensorSource::refuse(std::string name, std::string why) {
  require_free(name);
  refused_.emplace(std::move(name), std::move(why));
}

void TensorSource::require_free(const std::string& name) const {
  if (!tensors_.contains(name) && !refused_.contains(name)) return;
  throw FileError(origin_, fmt::format("tensor '{}'", name), "named twice");
}

const TensorView* TensorSource::find(std::string_view name) const {
  if (const auto refused = refused_.find(name); refused != refused_.end()) {
    throw FileError(origin_, fmt::format("tensor '{}'", name), refused->second);
  }
  const auto where = tensors_.find(name);
  return where == tensors_.end() ? nullptr : &where->second;
}

const TensorView& TensorSource::require(std::string_view name,
                                        std::span<const std::size_t> shape) const {
  const TensorView* const tensor = find(name);
  if (tensor == nullptr) throw FileError(origin_, fmt::format("tensor '{}'", name), "missing");
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end())) {
    throw FileError(origin_, fmt::format("tensor '{}'", name),
                    fmt::format("shape [{}] found, [{}] expected", fmt::join(tensor->shape, ", "),
                                fmt::join(shape, ", ")));
  }
  return *tensor;
}

}  // namespace fathom
