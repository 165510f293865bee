#include "kernels/products.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace fathom {
namespace {

using PanelOut = std::array<float, panel_rows * panel_product_rows>;

// The products of one panel with rows first_row..first_row+rows-1, bias added.
void panel_rows_product(const Kernels& kernels, const PackedMatrix& weights, std::size_t panel,
                        std::span<const float> bias, const ActivationView& view,
                        std::size_t first_row, std::size_t rows, std::size_t lanes, float* out) {
  kernels.panel_product[static_cast<std::size_t>(weights.form())](
      weights.panel(panel), weights.columns(), view, first_row, rows, out);
  if (bias.empty()) return;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      out[r * panel_rows + lane] += bias[panel * panel_rows + lane];
    }
  }
}

std::size_t lanes_of(const PackedMatrix& weights, std::size_t panel) {
  return std::min(panel_rows, weights.rows() - panel * panel_rows);
}

}  // namespace

void Activations::resize(std::size_t rows, std::size_t columns,
                         ActivationQuantization quantization) {
  rows_ = rows;
  columns_ = columns;
  quantization_ = quantization;
  stride_ = (columns + block_inputs - 1) / block_inputs * block_inputs;
  values_.reserve(rows * stride_);
  quantized_.reserve(rows * stride_);
  blocks_.reserve(rows * stride_ / block_inputs);
  if (quantization == ActivationQuantization::int8_residual) {
    residuals_.reserve(rows * stride_);
    residual_blocks_.reserve(rows * stride_ / block_inputs);
  }
}

void Activations::quantize_row(const Kernels& kernels, std::size_t index) {
  const std::size_t at = index * stride_;
  const std::size_t block = at / block_inputs;
  if (quantization_ == ActivationQuantization::int8) {
    kernels.quantize(row(index), columns_, quantized_.data() + at, blocks_.data() + block);
  } else {
    kernels.quantize_residual(row(index), columns_, quantized_.data() + at, blocks_.data() + block,
                              residuals_.data() + at, residual_blocks_.data() + block);
  }
}

ActivationView Activations::view() const {
  ActivationView view{.values = values_.data(),
                      .quantized = quantized_.data(),
                      .blocks = blocks_.data(),
                      .stride = stride_};
  if (quantization_ == ActivationQuantization::int8_residual) {
    view.residuals = residuals_.data();
    view.residual_blocks = residual_blocks_.data();
  }
  return view;
}

void multiply(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
              std::span<const Product> products) {
  const std::size_t rows = activations.rows();
  if (rows == 0) return;
  const ActivationView view = activations.view();
  // All products' panels in one row.
  std::size_t panels = 0;
  for (const Product& product : products) panels += product.weights->panels();
  team.run_shares(panels, 1, [&](std::size_t begin, std::size_t end) {
    alignas(64) PanelOut out;
    std::size_t before = 0;
    for (const Product& product : products) {
      const PackedMatrix& weights = *product.weights;
      const std::size_t first_panel = std::max(begin, before) - before;
      const std::size_t end_panel = std::min(end - std::min(end, before), weights.panels());
      before += weights.panels();
      for (std::size_t panel = first_panel; panel < end_panel; ++panel) {
        const std::size_t lanes = lanes_of(weights, panel);
        for (std::size_t first = 0; first < rows; first += panel_product_rows) {
          const std::size_t count = std::min(panel_product_rows, rows - first);
          panel_rows_product(kernels, weights, panel, product.bias, view, first, count, lanes,
                             out.data());
          for (std::size_t r = 0; r < count; ++r) {
            std::copy_n(out.data() + r * panel_rows, lanes,
                        product.out + (first + r) * product.out_stride + panel * panel_rows);
          }
        }
      }
    }
  });
}

void multiply_swiglu(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
                     const PackedMatrix& gate, std::span<const float> gate_bias,
                     const PackedMatrix& up, std::span<const float> up_bias, Activations& out) {
  if (gate.rows() != up.rows() || gate.columns() != up.columns()) {
    throw std::logic_error("gate and up must have the same shape");
  }
  const std::size_t rows = activations.rows();
  if (rows == 0) return;
  const ActivationView view = activations.view();
  team.run_shares(gate.panels(), 1, [&](std::size_t begin, std::size_t end) {
    alignas(64) PanelOut gated;
    alignas(64) PanelOut upward;
    for (std::size_t panel = begin; panel < end; ++panel) {
      const std::size_t lanes = lanes_of(gate, panel);
      for (std::size_t first = 0; first < rows; first += panel_product_rows) {
        const std::size_t count = std::min(panel_product_rows, rows - first);
        panel_rows_product(kernels, gate, panel, gate_bias, view, first, count, lanes,
                           gated.data());
        panel_rows_product(kernels, up, panel, up_bias, view, first, count, lanes, upward.data());
        kernels.swiglu(gated.data(), upward.data(), count * panel_rows);
        for (std::size_t r = 0; r < count; ++r) {
          std::copy_n(gated.data() + r * panel_rows, lanes,
                      out.row(first + r) + panel * panel_rows);
        }
      }
    }
  });
}

}  // namespace fathom
