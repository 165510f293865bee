#include "kernels/products.h"

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

namespace fathom {
namespace {

// Of a panel for many rows, or of many panels for one row.
using Outputs = std::array<float, panel_rows * most_panel_product_rows>;

struct RowRange {
  std::size_t first = 0;
  std::size_t count = 0;
};

std::size_t lanes_of(const PackedMatrix& weights, std::size_t panel) {
  return std::min(panel_rows, weights.rows() - panel * panel_rows);
}

// How many panels are computed together: many for a single row, which gets more out of the memory.
std::size_t panels_at_once(std::size_t rows) { return rows == 1 ? most_panel_product_rows : 1; }

// The products of some panels, panels_at_once() at most, with some rows of the activations. `out`
// is [rows.count][stride] and has room for all lanes.
void panel_products(const Kernels& kernels, const PackedMatrix& weights, WorkRange panels,
                    const ActivationView& view, RowRange rows, float* out, std::size_t stride) {
  const auto form = static_cast<std::size_t>(weights.form());
  if (rows.count == 1) {
    kernels.row_product[form](weights.panel(panels.begin), weights.columns(),
                              panels.end - panels.begin, view, rows.first, out);
  } else {
    kernels.panel_product[form](weights.panel(panels.begin), weights.columns(), view, rows.first,
                                rows.count, out, stride);
  }
}

// Adds B c to the outputs of some panels, for the rows that get it.
void add_low_rank(const Kernels& kernels, const LowRankAddend& addend, WorkRange panels,
                  RowRange rows, float* out, std::size_t stride) {
  alignas(64) Outputs values;
  const std::size_t count = (panels.end - panels.begin) * panel_rows;
  std::size_t begin = 0;
  while (begin < rows.count) {
    if (addend.acts[rows.first + begin] == 0) {
      ++begin;
      continue;
    }
    // Several panels are those of a single row.
    std::size_t end = begin + 1;
    while (end < rows.count && addend.acts[rows.first + end] != 0) ++end;
    panel_products(kernels, *addend.weights, panels, addend.coefficients,
                   {rows.first + begin, end - begin}, values.data(), count);
    for (std::size_t r = begin; r < end; ++r) {
      const float* const from = values.data() + (r - begin) * count;
      for (std::size_t i = 0; i < count; ++i) out[r * stride + i] += from[i];
    }
    begin = end;
  }
}

// Those products with all that is added to them.
void panel_outputs(const Kernels& kernels, const LinearMap& map, WorkRange panels,
                   const ActivationView& view, RowRange rows, float* out, std::size_t stride) {
  const PackedMatrix& weights = *map.weights;
  panel_products(kernels, weights, panels, view, rows, out, stride);
  if (!map.bias.empty()) {
    const std::size_t first = panels.begin * panel_rows;
    const std::size_t count = std::min(panels.end * panel_rows, weights.rows()) - first;
    for (std::size_t r = 0; r < rows.count; ++r) {
      for (std::size_t i = 0; i < count; ++i) out[r * stride + i] += map.bias[first + i];
    }
  }
  if (map.addend != nullptr) add_low_rank(kernels, *map.addend, panels, rows, out, stride);
}

// The outputs have just been written, and are still at hand.
void note_maxima(const Kernels& kernels, const Product& product, WorkRange panels, RowRange rows) {
  const PackedMatrix& weights = *product.map.weights;
  for (std::size_t r = rows.first; r < rows.first + rows.count; ++r) {
    for (std::size_t panel = panels.begin; panel < panels.end; ++panel) {
      const float* const out = product.out + r * product.out_stride + panel * panel_rows;
      float& maximum = product.maxima[r * weights.panels() + panel];
      const std::size_t lanes = lanes_of(weights, panel);
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
}

// Outputs of some panels, [rows.count][stride], to where they belong in `out`.
void copy_outputs(const float* values, std::size_t stride, const PackedMatrix& weights,
                  WorkRange panels, RowRange rows, Activations& out) {
  for (std::size_t r = 0; r < rows.count; ++r) {
    for (std::size_t panel = panels.begin; panel < panels.end; ++panel) {
      const float* const from = values + r * stride + (panel - panels.begin) * panel_rows;
      float* const to = out.row(rows.first + r) + panel * panel_rows;
      const std::size_t lanes = lanes_of(weights, panel);
      // A constant count is copied without a call.
      lanes == panel_rows ? std::copy_n(from, panel_rows, to) : std::copy_n(from, lanes, to);
    }
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
      const std::size_t step = panels_at_once(range.count);
      for (std::size_t panel = begin; panel < end; panel += step) {
        work(range, WorkRange{panel, std::min(panel + step, end)});
      }
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
    alignas(64) Outputs partial;
    // Some rows with all panels, then the next: what they read and write stays in the cache.
    for (std::size_t first = 0; first < rows; first += kernels.panel_product_rows) {
      const RowRange range{first, std::min(kernels.panel_product_rows, rows - first)};
      std::size_t before = 0;
      for (const Product& product : products) {
        const PackedMatrix& weights = *product.map.weights;
        const std::size_t first_panel = std::max(begin, before) - before;
        const std::size_t end_panel = std::min(end - std::min(end, before), weights.panels());
        before += weights.panels();
        const std::size_t whole = std::min(end_panel, weights.rows() / panel_rows);
        const std::size_t step = panels_at_once(range.count);
        float* const out = product.out + first * product.out_stride;
        for (std::size_t panel = first_panel; panel < whole; panel += step) {
          const WorkRange together{panel, std::min(panel + step, whole)};
          panel_outputs(kernels, product.map, together, view, range, out + panel * panel_rows,
                        product.out_stride);
          if (product.maxima != nullptr) note_maxima(kernels, product, together, range);
        }
        if (first_panel >= end_panel || whole == end_panel) continue;
        // Of the last panel not all lanes are the matrix's.
        const WorkRange last{whole, whole + 1};
        panel_outputs(kernels, product.map, last, view, range, partial.data(), panel_rows);
        for (std::size_t r = 0; r < range.count; ++r) {
          std::copy_n(partial.data() + r * panel_rows, lanes_of(weights, whole),
                      out + r * product.out_stride + whole * panel_rows);
        }
        if (product.maxima != nullptr) note_maxima(kernels, product, last, range);
      }
    }
  });
}

void multiply_activated(ThreadTeam& team, const Kernels& kernels, const Activations& activations,
                        const LinearMap& map, Activation activation, Activations& out) {
  const ActivationView view = activations.view();
  const auto activate = kernels.activate[static_cast<std::size_t>(activation)];
  for_rows_and_panels(team, kernels, activations.rows(), map.weights->panels(),
                      [&](RowRange range, WorkRange panels) {
                        alignas(64) Outputs values;
                        const std::size_t stride = (panels.end - panels.begin) * panel_rows;
                        panel_outputs(kernels, map, panels, view, range, values.data(), stride);
                        activate(values.data(), range.count * stride);
                        copy_outputs(values.data(), stride, *map.weights, panels, range, out);
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
                      [&](RowRange range, WorkRange panels) {
                        alignas(64) Outputs values;
                        alignas(64) Outputs upward;
                        const std::size_t stride = (panels.end - panels.begin) * panel_rows;
                        panel_outputs(kernels, gate, panels, view, range, values.data(), stride);
                        panel_outputs(kernels, up, panels, view, range, upward.data(), stride);
                        gated(values.data(), upward.data(), range.count * stride);
                        copy_outputs(values.data(), stride, *gate.weights, panels, range, out);
                      });
}

}  // namespace fathom
