#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/arena.h"
#include "base/thread_team.h"
#include "formats/tensor_source.h"
#include "kernels/packed_form.h"

namespace fathom {

/// The form that keeps a stored type's weights as they are (docs/kernels.md says for which types
/// that is exact: all but the K types, whose scales are rounded to float16).
PackedForm native_form(TensorType type);

/// A weight matrix in the layout the kernels read.
class PackedMatrix {
 public:
  /// Packs a [rows][columns] tensor, as the type it is used in, into `form`, which must be that
  /// type's native_form() or float32.
  /// `row_order`, if not empty, says which row of the tensor becomes each row of the matrix. The
  /// weights lie in `arena`, which must outlive the matrix. Throws InputError if a weight does not
  /// fit the type that the tensor is converted to.
  PackedMatrix(const TensorView& tensor, PackedForm form, std::span<const std::uint32_t> row_order,
               Arena& arena, ThreadTeam& team);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t columns() const { return columns_; }
  [[nodiscard]] PackedForm form() const { return form_; }
  /// What one product reads.
  [[nodiscard]] std::size_t bytes() const { return data_.size(); }
  [[nodiscard]] std::size_t panels() const { return (rows_ + panel_rows - 1) / panel_rows; }
  [[nodiscard]] const std::byte* panel(std::size_t index) const {
    return data_.data() + index * panel_bytes_;
  }

 private:
  std::size_t rows_;
  std::size_t columns_;
  PackedForm form_;
  std::size_t panel_bytes_;
  std::span<const std::byte> data_;
};

}  // namespace fathom
