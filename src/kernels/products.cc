#include "kernels/products.h"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

namespace fathom {
namespace {

using PanelOut = std::array<float, panel_rows * most_panel_product_rows>;

struct RowRange {
  std::size_t first = 0;
  std::size_t count = 0;
};

std::size_t lanes_of(const PackedMatrix& weights, std::size_t panel) {
  return std::min(panel_rows, weights.rows() - panel * panel_rows);
}

// Adds B c to one panel's outputs, for the rows that get it.
void add_low_rank(const Kernels& kernels, const LowRankAddend& addend, std::size_t panel,
                  RowRange rows, float* out, std::size_t stride) {
  const PackedMatrix& weights = *addend.weights;
  const auto product = kernels.panel_product[static_cast<std::size_t>(weights.form())];
  alignas(64) PanelOut values;
  std::size_t begin = 0;
  while (begin < rows.count) {
    if (addend.acts[rows.first + begin] == 0) {
      ++begin;
      continue;
    }
    std::size_t end = begin + 1;
    while (end < rows.count && addend.acts[rows.first + end] != 0) ++end;
    product(weights.panel(panel), weights.columns(), addend.coefficients, rows.first + begin,
            end - begin, values.data(), panel_rows);
    for (std::size_t r = begin; r < end; ++r) {
      const float* const from = values.data() + (r - begin) * panel_rows;
      for (std::size_t lane = 0; lane < panel_rows; ++lane) out[r * stride + lane] += from[lane];
    }
    begin = end;
  }
}

// The outputs of one panel for some rows of the activations, with all that is added to them. `out`
// is [rows.count][stride] and has room for all lanes.
void panel_outputs(const Kernels& kernels, const LinearMap& map, std::size_t panel,
                   const ActivationView& view, RowRange rows, float* out, std::size_t stride) {
  const PackedMatrix& weights = *map.weights;
  kernels.panel_product[static_cast<std::size_t>(weights.form())](
      weights.panel(panel), weights.columns(), view, rows.first, rows.count, out, stride);
  if (!map.bias.empty()) {
    const std::size_t lanes = lanes_of(weights, panel);
    for (std::size_t r = 0; r < rows.count; ++r) {
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        out[r * stride + lane] += map.bias[panel * panel_rows + lane];
      }
    }
  }
  if (map.addend != nullptr) add_low_rank(kernels, *map.addend, panel, rows, out, stride);
}

// The outputs have just been written, and are still at hand.
void note_maxima(const Kernels& kernels, const Product& product, std::size_t panel, RowRange rows) {
  const PackedMatrix& weights = *product.map.weights;
  const std::size_t lanes = lanes_of(weights, panel);
  for (std::size_t r = rows.first; r < rows.first + rows.count; ++r) {
    const float* const out = product.out + r * product.out_stride + panel * panel_rows;
    float& maximum = product.maxima[r * weights.panels() + panel];
    if (lanes == panel_rows) {
      maximum = kernels.panel_maximum(out);
      continue;
    }
    maximum = -std::numeric_limits<float>::infinity();
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      maximum = out[lane] > maximum ? out[lane] : maximum;
    }
  }
}

// A panel's outputs, [rows.count][panel_rows], to where they belong in `out`.
void copy_panel(const PanelOut& values, std::size_t lanes, RowRange rows, std::size_t panel,
                Activations& out) {
  for (std::size_t r = 0; r < rows.count; ++r) {
    const float* const from = values.data() + r * panel_rows;
    float* const to = out.row(rows.first + r) + panel * panel_rows;
    // A constant count is copied without a call.
    lanes == panel_rows ? std::copy_n(from, panel_rows, to) : std::copy_n(from, lanes, to);
  }
}

// Shares out a matrix's panels; a worker takes some rows with all of its panels, then the next, so
// that what they read and write stays in the cache.
template <class Work>
void for_rows_and_panels(ThreadTeam& team, const Kernels& kernels, std::size_t rows,
                         std::size_t panels, const Work& work) {
  if (rows == 0) return;
  team.run_shares(panels, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t first = 0; first < rows; first += kernels.panel_product_rows) {
      const RowRange range{first, std::min(kernels.panel_product_rows, rows - first)};
      for (std::size_t panel = begin; panel < end; ++panel) work(range, panel);
    }
  });
}

}  // namespace

void Activations::resize(std::size_t rows, std::size_t columns,
                         ActivationQuantization quantization) {
  rows_ = rows;
  columns_ = columns;
  quantization_ = quantization;
  stride_ = (columns + block_inputs - 1) / block_inputs * block_inputs;
  const std::size_t padded = (rows + row_padding - 1) / row_padding * row_padding;
  values_.reserve(rows * stride_);
  quantized_.reserve(padded * stride_);
  blocks_.reserve(padded * stride_ / block_inputs);
  if (quantization == ActivationQuantization::int8_residual) {
    residuals_.reserve(padded * stride_);
    residual_blocks_.reserve(padded * stride_ / block_inputs);
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
  for (const Product& product : products) panels += product.map.weights->panels();
  team.run_shares(panels, 1, [&](std::size_t begin, std::size_t end) {
    alignas(64) PanelOut partial;
    // Some rows with all panels, then the next: what they read and write stays in the cache.
    for (std::size_t first = 0; first < rows; first += kernels.panel_product_rows) {
      const RowRange range{first, std::min(kernels.panel_product_rows, rows - first)};
      std::size_t before = 0;
      for (const Product& product : products) {
        const PackedMatrix& weights = *product.map.weights;
        const std::size_t first_panel = std::max(begin, before) - before;
        const std::size_t end_panel = std::min(end - std::min(end, before), weights.panels());
        before += weights.panels();
        for (std::size_t panel = first_panel; panel < end_panel; ++panel) {
          float* const out = product.out + first * product.out_stride + panel * panel_rows;
          const std::size_t lanes = lanes_of(weights, panel);
          if (lanes == panel_rows) {
            panel_outputs(kernels, product.map, panel, view, range, out, product.out_stride);
            if (product.maxima != nullptr) note_maxima(kernels, product, panel, range);
            continue;
          }
          panel_outputs(kernels, product.map, panel, view, range, partial.data(), panel_rows);
          for (std::size_t r = 0; r < range.count; ++r) {
            std::copy_n(partial.data() + r * panel_rows, lanes, out + r * product.out_stride);
          }
          if (product.maxima != nullptr) note_maxima(kernels, product, panel, range);
        }
      }
    }
  });
}

void multiply_activated(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
                        const LinearMap& map, Activation activation, Activations& out) {
  const ActivationView view = activations.view();
  const auto activate = kernels.activate[static_cast<std::size_t>(activation)];
  for_rows_and_panels(team, kernels, activations.rows(), map.weights->panels(),
                      [&](RowRange range, std::size_t panel) {
                        alignas(64) PanelOut values;
                        panel_outputs(kernels, map, panel, view, range, values.data(), panel_rows);
                        activate(values.data(), range.count * panel_rows);
                        copy_panel(values, lanes_of(*map.weights, panel), range, panel, out);
                      });
}

void multiply_gated(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
                    const LinearMap& gate, const LinearMap& up, Activation activation,
                    Activations& out) {
  if (gate.weights->rows() != up.weights->rows() ||
      gate.weights->columns() != up.weights->columns()) {
    throw std::logic_error("gate and up must have the same shape");
  }
  const ActivationView view = activations.view();
  const auto gated = kernels.gated[static_cast<std::size_t>(activation)];
  for_rows_and_panels(team, kernels, activations.rows(), gate.weights->panels(),
                      [&](RowRange range, std::size_t panel) {
                        alignas(64) PanelOut values;
                        alignas(64) PanelOut upward;
                        panel_outputs(kernels, gate, panel, view, range, values.data(), panel_rows);
                        panel_outputs(kernels, up, panel, view, range, upward.data(), panel_rows);
                        gated(values.data(), upward.data(), range.count * panel_rows);
                        copy_panel(values, lanes_of(*gate.weights, panel), range, panel, out);
                      });
}

}  // namespace fathom
