#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace fathom {

/// Memory aligned to cache lines; large pieces ask for huge pages. Not initialised. Throws
/// std::bad_alloc.
void* allocate_aligned(std::size_t bytes);
void free_aligned(void* memory);

/// Room for numbers, aligned to cache lines. Moves; does not copy.
template <class T>
class AlignedBuffer {
 public:
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

  AlignedBuffer() = default;
  /// Room for `size` elements, whose values are not set.
  explicit AlignedBuffer(std::size_t size)
      : size_(size), data_(static_cast<T*>(allocate_aligned(size * sizeof(T)))) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T* data() { return data_.get(); }
  [[nodiscard]] const T* data() const { return data_.get(); }
  [[nodiscard]] std::span<T> span() { return {data_.get(), size_}; }
  [[nodiscard]] std::span<const T> span() const { return {data_.get(), size_}; }

  /// At least `size` elements; what was there before is lost if it has to grow.
  void reserve(std::size_t size) {
    if (size > size_) *this = AlignedBuffer(size);
  }

 private:
  struct Free {
    void operator()(T* p) const { free_aligned(p); }
  };

  std::size_t size_ = 0;
  std::unique_ptr<T[], Free> data_;
};

}  // namespace fathom
