#include "kernels/kernels.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "formats/dequantize.h"
#include "kernels/packed_matrix.h"
#include "kernels/products.h"
#include "kernels/random_values.h"

namespace fathom {
namespace {

constexpr std::array all_types{TensorType::F32,  TensorType::F16,  TensorType::BF16,
                               TensorType::Q4_0, TensorType::Q4_1, TensorType::Q5_0,
                               TensorType::Q5_1, TensorType::Q8_0, TensorType::Q4_K,
                               TensorType::Q5_K, TensorType::Q6_K};

/// A stored tensor with random weights that are valid in its type.
struct RandomTensor {
  TensorView view;
  std::vector<std::byte> bytes;
  std::vector<float> widened;  // [rows][columns]

  RandomTensor(TensorType type, std::size_t rows, std::size_t columns, unsigned seed) {
    std::mt19937 random(seed);
    view.name = "w";
    view.type = type;
    view.shape = {rows, columns};
    bytes.resize(tensor_bytes(type, view.shape));
    std::normal_distribution<float> normal(0.0F, 0.05F);
    const std::size_t block = info(type).block_bytes;
    const auto put_half = [&](std::size_t at, float value) {
      const std::uint16_t bits = half_from_float(value);
      std::memcpy(&bytes[at], &bits, 2);
    };
    for (std::size_t at = 0; at < bytes.size(); at += block) {
      if (type == TensorType::F32) {
        const float value = normal(random);
        std::memcpy(&bytes[at], &value, 4);
      } else if (type == TensorType::F16) {
        put_half(at, normal(random));
      } else if (type == TensorType::BF16) {
        const auto bits =
            static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(normal(random)) >> 16);
        std::memcpy(&bytes[at], &bits, 2);
      } else {
        for (std::size_t i = 0; i < block; ++i) bytes[at + i] = static_cast<std::byte>(random());
        const float scale = 0.001F + 0.004F * static_cast<float>(random() % 1000) / 1000;
        put_half(type == TensorType::Q6_K ? at + 208 : at,
                 scale / (info(type).block_elements == 256 ? 16 : 1));
        if (type == TensorType::Q4_1 || type == TensorType::Q5_1) put_half(at + 2, normal(random));
        if (type == TensorType::Q4_K || type == TensorType::Q5_K) put_half(at + 2, scale / 8);
      }
    }
    view.bytes = bytes;
    widened.resize(rows * columns);
    dequantize(type, bytes, widened);
  }
};

Activations make_activations(const Kernels& k, std::size_t rows, std::size_t columns,
                             const std::vector<float>& values,
                             ActivationQuantization quantization = ActivationQuantization::int8) {
  Activations activations;
  activations.resize(rows, columns, quantization);
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(&values[r * columns], columns, activations.row(r));
    if (columns % block_inputs == 0) activations.quantize_row(k, r);
  }
  return activations;
}

/// Every test of this file runs with each set of kernels that the machine has.
class KernelsTest : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& k() const { return *GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(All, KernelsTest, testing::ValuesIn(available_kernels()),
                         [](const auto& instance) { return std::string(instance.param->name); });

// What the kernels are given: the activation that the quantised numbers stand for.
double quantized_value(const ActivationView& view, std::size_t row, std::size_t column) {
  const std::size_t at = row * view.stride + column;
  double steps = view.quantized[at];
  if (view.residuals != nullptr) steps += view.residuals[at] / double{residual_steps};
  return static_cast<double>(view.blocks[at / block_inputs].scale) * steps;
}

void check_products(const Kernels& k, ActivationQuantization quantization) {
  Arena arena;
  constexpr std::size_t rows = 37;
  constexpr std::size_t columns = 512;
  ThreadTeam team(2);
  for (const TensorType type : all_types) {
    const RandomTensor tensor(type, rows, columns, 5);
    const PackedMatrix packed(tensor.view, native_form(type), {}, arena, team);
    const std::vector<float> values = random_values(3 * columns, 6);
    const Activations activations = make_activations(k, 3, columns, values, quantization);
    std::vector<float> out(3 * rows, -1);
    const Product product{.map = {.weights = &packed}, .out = out.data(), .out_stride = rows};
    multiply(team, k, activations, std::span(&product, 1));
    const ActivationView view = activations.view();
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t o = 0; o < rows; ++o) {
        double expected = 0;
        double magnitude = 0;
        for (std::size_t c = 0; c < columns; ++c) {
          double x = values[r * columns + c];
          if (is_integer(packed.form())) x = quantized_value(view, r, c);
          const double term = static_cast<double>(tensor.widened[o * columns + c]) * x;
          expected += term;
          magnitude += std::abs(term);
        }
        // Float rounding of the sums: at most `columns` roundings of 2^-24 relative to the sum of
        // magnitudes. The K types' scales and minimums are rounded to float16 as well (2^-11).
        const bool rounded_scales =
            type == TensorType::Q4_K || type == TensorType::Q5_K || type == TensorType::Q6_K;
        // A minimum is added apart from the quants it cancels, so its terms count by themselves.
        double tolerance = magnitude * columns * 0x1p-24 * 4 + 1e-6;
        if (rounded_scales) tolerance += (magnitude + 40) * 0x1p-11;
        ASSERT_NEAR(out[r * rows + o], expected, tolerance)
            << info(type).name << " " << r << " " << o;
      }
    }
  }
}

TEST_P(KernelsTest, ProductsEqualTheReferenceForEveryType) {
  check_products(k(), ActivationQuantization::int8);
  check_products(k(), ActivationQuantization::int8_residual);
}

TEST_P(KernelsTest, IntegerProductsStayCloseToFloat) {
  Arena arena;
  constexpr std::size_t columns = 1536;
  ThreadTeam team(1);
  const RandomTensor tensor(TensorType::Q8_0, 64, columns, 1);
  const PackedMatrix packed(tensor.view, PackedForm::int8, {}, arena, team);
  const std::vector<float> values = random_values(columns, 2);
  for (const auto quantization :
       {ActivationQuantization::int8, ActivationQuantization::int8_residual}) {
    const Activations activations = make_activations(k(), 1, columns, values, quantization);
    std::vector<float> out(64);
    const Product product{.map = {.weights = &packed}, .out = out.data(), .out_stride = 64};
    multiply(team, k(), activations, std::span(&product, 1));
    // The step of a block is its largest value / 127; the largest of 32 normal values is about 2.5.
    // Errors are even over a step: standard deviation 1 / sqrt(12) of it. Six of them over the sum.
    double step = 2.5 / 127;
    if (quantization == ActivationQuantization::int8_residual) step /= residual_steps;
    for (std::size_t o = 0; o < 64; ++o) {
      double expected = 0;
      double squares = 0;
      double magnitude = 0;
      for (std::size_t c = 0; c < columns; ++c) {
        const double w = tensor.widened[o * columns + c];
        expected += w * values[c];
        magnitude += std::abs(w * values[c]);
        squares += w * w;
      }
      const double float_rounding = magnitude * 0x1p-24 * 8;
      EXPECT_NEAR(out[o], expected,
                  6 * step / std::sqrt(12.0) * std::sqrt(squares) + float_rounding);
    }
  }
}

TEST_P(KernelsTest, ARowsBitsDoNotDependOnItsCompany) {
  Arena arena;
  ThreadTeam one(1);
  ThreadTeam three(3);
  // More panels than any kernels take at once for a single row, one more, and a part of one; more
  // blocks than some unpack at once, more rows than any takes at once, and a rest.
  constexpr std::size_t rows = 90;
  constexpr std::size_t columns = 1280;
  constexpr std::size_t batch = most_panel_product_rows + 29;
  const std::vector<float> values = random_values(batch * columns, 3);
  for (const auto quantization :
       {ActivationQuantization::int8, ActivationQuantization::int8_residual}) {
    const Activations together = make_activations(k(), batch, columns, values, quantization);
    for (const TensorType type : all_types) {
      const RandomTensor tensor(type, rows, columns, 4);
      const PackedMatrix packed(tensor.view, native_form(type), {}, arena, three);
      std::vector<float> out(batch * rows);
      const Product product{.map = {.weights = &packed}, .out = out.data(), .out_stride = rows};
      multiply(three, k(), together, std::span(&product, 1));
      for (std::size_t r = 0; r < batch; r += r < 40 ? 1 : 13) {
        const std::vector<float> row(&values[r * columns], &values[r * columns] + columns);
        const Activations alone = make_activations(k(), 1, columns, row, quantization);
        std::vector<float> single(rows);
        const Product by_itself{
            .map = {.weights = &packed}, .out = single.data(), .out_stride = rows};
        multiply(one, k(), alone, std::span(&by_itself, 1));
        ASSERT_EQ(0, std::memcmp(single.data(), &out[r * rows], rows * sizeof(float)))
            << info(type).name << " row " << r;
      }
    }
  }
}

TEST_P(KernelsTest, FloatProductsTakeAnyWidth) {
  Arena arena;
  ThreadTeam team(2);
  for (const std::size_t columns : {1U, 3U, 7U, 20U, 60U, 100U}) {
    const RandomTensor tensor(TensorType::F32, 19, columns, 8);
    const PackedMatrix packed(tensor.view, PackedForm::float32, {}, arena, team);
    const std::vector<float> values = random_values(5 * columns, 9);
    const std::vector<float> bias = random_values(19, 10);
    const Activations activations = make_activations(k(), 5, columns, values);
    std::vector<float> out(5 * 19);
    const Product product{
        .map = {.weights = &packed, .bias = bias}, .out = out.data(), .out_stride = 19};
    multiply(team, k(), activations, std::span(&product, 1));
    for (std::size_t r = 0; r < 5; ++r) {
      for (std::size_t o = 0; o < 19; ++o) {
        double expected = bias[o];
        for (std::size_t c = 0; c < columns; ++c) {
          expected +=
              static_cast<double>(tensor.widened[o * columns + c]) * values[r * columns + c];
        }
        ASSERT_NEAR(out[r * 19 + o], expected, 1e-5);
      }
    }
  }
}

TEST_P(KernelsTest, RowOrderPermutesRows) {
  Arena arena;
  ThreadTeam team(1);
  const RandomTensor tensor(TensorType::Q4_1, 32, 64, 8);
  std::vector<std::uint32_t> order(32);
  for (std::uint32_t i = 0; i < 32; ++i) order[i] = (i * 7 + 3) % 32;
  const PackedMatrix plain(tensor.view, PackedForm::int4_min, {}, arena, team);
  const PackedMatrix permuted(tensor.view, PackedForm::int4_min, order, arena, team);
  const Activations activations = make_activations(k(), 1, 64, random_values(64, 1));
  std::vector<float> a(32);
  std::vector<float> b(32);
  const Product product_a{.map = {.weights = &plain}, .out = a.data(), .out_stride = 32};
  const Product product_b{.map = {.weights = &permuted}, .out = b.data(), .out_stride = 32};
  multiply(team, k(), activations, std::span(&product_a, 1));
  multiply(team, k(), activations, std::span(&product_b, 1));
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(b[i], a[order[i]]);
}

TEST_P(KernelsTest, GatedProductEqualsItsParts) {
  Arena arena;
  ThreadTeam team(2);
  const RandomTensor gate(TensorType::Q4_1, 40, 96, 1);
  const RandomTensor up(TensorType::Q8_0, 40, 96, 2);
  const PackedMatrix packed_gate(gate.view, PackedForm::int4_min, {}, arena, team);
  const PackedMatrix packed_up(up.view, PackedForm::int8, {}, arena, team);
  const std::vector<float> up_bias = random_values(40, 3);
  const Activations x = make_activations(k(), 11, 96, random_values(11 * 96, 4, 3.0F));
  Activations fused;
  fused.resize(11, 40, ActivationQuantization::int8);
  multiply_gated(team, k(), x, {.weights = &packed_gate}, {.weights = &packed_up, .bias = up_bias},
                 Activation::silu, fused);
  std::vector<float> g(11 * 40);
  std::vector<float> u(11 * 40);
  const std::array products{
      Product{.map = {.weights = &packed_gate}, .out = g.data(), .out_stride = 40},
      Product{.map = {.weights = &packed_up, .bias = up_bias}, .out = u.data(), .out_stride = 40}};
  multiply(team, k(), x, products);
  for (std::size_t r = 0; r < 11; ++r) {
    for (std::size_t i = 0; i < 40; ++i) {
      const double a = g[r * 40 + i];
      const double expected = a / (1 + std::exp(-a)) * u[r * 40 + i];
      EXPECT_NEAR(fused.row(r)[i], expected, 1e-6 * (1 + std::abs(expected)));
    }
  }
}

TEST_P(KernelsTest, MaximaAreThoseOfTheOutputs) {
  Arena arena;
  ThreadTeam team(2);
  constexpr std::size_t rows = 3;
  constexpr std::size_t width = 37;  // two panels and a part of one
  const RandomTensor tensor(TensorType::Q8_0, width, 64, 1);
  const PackedMatrix packed(tensor.view, PackedForm::int8, {}, arena, team);
  const Activations x = make_activations(k(), rows, 64, random_values(rows * 64, 4));
  // All below zero, which is what empty lanes hold; and some no numbers.
  std::vector<float> bias(width, -1000);
  bias[3] = std::numeric_limits<float>::quiet_NaN();
  bias[36] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> out(rows * width);
  std::vector<float> maxima(rows * 3);
  const Product product{.map = {.weights = &packed, .bias = bias},
                        .out = out.data(),
                        .out_stride = width,
                        .maxima = maxima.data()};
  multiply(team, k(), x, std::span(&product, 1));
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t panel = 0; panel < 3; ++panel) {
      float expected = -std::numeric_limits<float>::infinity();
      for (std::size_t i = panel * 16; i < std::min<std::size_t>(width, panel * 16 + 16); ++i) {
        if (out[r * width + i] > expected) expected = out[r * width + i];
      }
      EXPECT_EQ(maxima[r * 3 + panel], expected) << "row " << r << " panel " << panel;
    }
  }
  const std::vector<float> none(16, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(k().panel_maximum(none.data()), -std::numeric_limits<float>::infinity());
}

TEST_P(KernelsTest, LowRankAddendsAreAddedToTheirRowsBeforeTheActivationFunction) {
  Arena arena;
  ThreadTeam team(2);
  constexpr std::size_t rows = 21;
  constexpr std::size_t width = 40;
  constexpr std::size_t rank = 6;
  constexpr std::size_t first = 3;  // of the coefficients, which lie beside others
  const RandomTensor gate(TensorType::Q4_1, width, 96, 1);
  const RandomTensor up(TensorType::Q8_0, width, 96, 2);
  const RandomTensor b(TensorType::F16, width, rank, 3);
  const PackedMatrix packed_gate(gate.view, PackedForm::int4_min, {}, arena, team);
  const PackedMatrix packed_up(up.view, PackedForm::int8, {}, arena, team);
  const PackedMatrix packed_b(b.view, PackedForm::half, {}, arena, team);
  const Activations x = make_activations(k(), rows, 96, random_values(rows * 96, 4, 3.0F));
  const std::vector<float> bias = random_values(width, 5);
  Activations coefficients;
  coefficients.resize(rows, first + rank, ActivationQuantization::int8);
  const std::vector<float> drawn = random_values(rows * (first + rank), 6);
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(drawn.data() + r * (first + rank), first + rank, coefficients.row(r));
  }
  // Alone, side by side, the first and the last.
  std::array<std::uint8_t, rows> acts{};
  for (const std::size_t r : {0U, 3U, 4U, 5U, 9U, 20U}) acts[r] = 1;
  LowRankAddend addend{.weights = &packed_b, .coefficients = coefficients.view(), .acts = acts};
  addend.coefficients.values += first;

  const LinearMap plain{.weights = &packed_gate, .bias = bias};
  const LinearMap adapted{.weights = &packed_gate, .bias = bias, .addend = &addend};
  std::vector<float> without(rows * width);
  std::vector<float> with(rows * width);
  const Product product_without{.map = plain, .out = without.data(), .out_stride = width};
  const Product product_with{.map = adapted, .out = with.data(), .out_stride = width};
  multiply(team, k(), x, std::span(&product_without, 1));
  multiply(team, k(), x, std::span(&product_with, 1));
  std::vector<float> upward(rows * width);
  const Product product_up{
      .map = {.weights = &packed_up}, .out = upward.data(), .out_stride = width};
  multiply(team, k(), x, std::span(&product_up, 1));
  Activations fused;
  fused.resize(rows, width, ActivationQuantization::int8);
  multiply_gated(team, k(), x, adapted, {.weights = &packed_up}, Activation::silu, fused);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t i = 0; i < width; ++i) {
      double change = 0;
      for (std::size_t c = 0; c < rank; ++c) {
        change += static_cast<double>(b.widened[i * rank + c]) * coefficients.row(r)[first + c];
      }
      if (acts[r] == 0) {
        ASSERT_EQ(with[r * width + i], without[r * width + i]) << r;
      } else {
        ASSERT_NEAR(with[r * width + i], without[r * width + i] + change,
                    1e-5 * (1 + std::abs(without[r * width + i]) + std::abs(change)))
            << r;
      }
      const double a = with[r * width + i];
      const double expected = a / (1 + std::exp(-a)) * upward[r * width + i];
      ASSERT_NEAR(fused.row(r)[i], expected, 1e-6 * (1 + std::abs(expected)));
    }
  }
  // A row gets the same bits alone.
  for (const std::size_t r : {4U, 20U}) {
    Activations one = make_activations(k(), 1, 96, std::vector<float>(x.row(r), x.row(r) + 96));
    const std::array<std::uint8_t, 1> yes{1};
    LowRankAddend of_row = addend;
    of_row.coefficients.values += r * addend.coefficients.stride;
    of_row.acts = yes;
    std::vector<float> alone(width);
    const Product product{.map = {.weights = &packed_gate, .bias = bias, .addend = &of_row},
                          .out = alone.data(),
                          .out_stride = width};
    multiply(team, k(), one, std::span(&product, 1));
    for (std::size_t i = 0; i < width; ++i) ASSERT_EQ(alone[i], with[r * width + i]);
  }
}

TEST_P(KernelsTest, NormRotationAndAdditionEqualTheirDefinitions) {
  for (const std::size_t n : {1U, 16U, 20U, 64U, 577U}) {
    const std::vector<float> x = random_values(n, 1);
    const std::vector<float> weight = random_values(n, 2);
    std::vector<float> out(n);
    k().rms_norm(x.data(), weight.data(), n, 1e-5F, out.data());
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * v;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(out[i], x[i] * factor * weight[i], 1e-5);
    }
    std::vector<float> sum = x;
    k().add(sum.data(), weight.data(), n);
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(sum[i], x[i] + weight[i]);

    std::vector<float> pairs = random_values(2 * n, 3);
    const std::vector<float> before = pairs;
    std::vector<float> cosines(n);
    std::vector<float> sines(n);
    for (std::size_t i = 0; i < n; ++i) {
      cosines[i] = std::cos(static_cast<float>(i));
      sines[i] = std::sin(static_cast<float>(i));
    }
    k().rotate(pairs.data(), cosines.data(), sines.data(), n);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(pairs[i], before[i] * cosines[i] - before[n + i] * sines[i], 1e-6);
      EXPECT_NEAR(pairs[n + i], before[n + i] * cosines[i] + before[i] * sines[i], 1e-6);
    }
  }
}

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::gelu:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return 0;
}

constexpr std::array all_activations{Activation::silu, Activation::relu, Activation::gelu,
                                     Activation::gelu_tanh};

TEST_P(KernelsTest, ActivationsEqualTheirDefinitions) {
  static_assert(all_activations.size() == activation_count);
  std::vector<float> x{-1e30F, -200, -88, -10, 0, 10, 88, 200, 1e30F};
  for (int i = -600; i <= 600; ++i) x.push_back(static_cast<float>(i) / 100);
  const std::vector<float> up = random_values(x.size(), 1);
  for (const Activation activation : all_activations) {
    const auto index = static_cast<std::size_t>(activation);
    std::vector<float> plain = x;
    k().activate[index](plain.data(), plain.size());
    std::vector<float> gate = x;
    k().gated[index](gate.data(), up.data(), gate.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = activated(activation, x[i]);
      ASSERT_NEAR(plain[i], expected, 5e-7 * (1 + std::abs(expected))) << index << ": " << x[i];
      ASSERT_EQ(gate[i], plain[i] * up[i]) << index << ": " << x[i];
    }
    // A value's bits do not depend on where it stands.
    for (const std::size_t n : {1U, 5U, 16U, 23U}) {
      std::vector<float> part(x.begin() + 20, x.begin() + 20 + static_cast<std::ptrdiff_t>(n));
      k().activate[index](part.data(), n);
      ASSERT_EQ(0, std::memcmp(part.data(), &plain[20], n * sizeof(float))) << index;
    }
    std::vector<float> nan{std::numeric_limits<float>::quiet_NaN()};
    k().activate[index](nan.data(), 1);
    EXPECT_TRUE(std::isnan(nan[0])) << index;
  }
}

TEST_P(KernelsTest, ActivatedProductEqualsItsParts) {
  Arena arena;
  ThreadTeam team(2);
  const RandomTensor weights(TensorType::Q8_0, 40, 96, 2);
  const PackedMatrix packed(weights.view, PackedForm::int8, {}, arena, team);
  const std::vector<float> bias = random_values(40, 3);
  const Activations x = make_activations(k(), 11, 96, random_values(11 * 96, 4, 3.0F));
  std::vector<float> parts(11 * 40);
  const Product product{
      .map = {.weights = &packed, .bias = bias}, .out = parts.data(), .out_stride = 40};
  multiply(team, k(), x, std::span(&product, 1));
  for (const Activation activation : all_activations) {
    Activations fused;
    fused.resize(11, 40, ActivationQuantization::int8);
    multiply_activated(team, k(), x, product.map, activation, fused);
    for (std::size_t r = 0; r < 11; ++r) {
      for (std::size_t i = 0; i < 40; ++i) {
        const double expected = activated(activation, parts[r * 40 + i]);
        EXPECT_NEAR(fused.row(r)[i], expected, 1e-6 * (1 + std::abs(expected)));
      }
    }
  }
}

TEST_P(KernelsTest, LayerNormEqualsItsDefinition) {
  for (const std::size_t n : {1U, 3U, 16U, 20U, 64U, 577U}) {
    std::vector<float> x = random_values(n, 1);
    for (float& v : x) v += 100;  // a mean far from zero costs no accuracy
    const std::vector<float> weight = random_values(n, 2);
    const std::vector<float> bias = random_values(n, 3);
    std::vector<float> out(n);
    k().layer_norm(x.data(), weight.data(), bias.data(), n, 1e-5F, out.data());
    double mean = 0;
    for (const float v : x) mean += v / static_cast<double>(n);
    double variance = 0;
    for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
    const double factor = 1 / std::sqrt(variance + 1e-5);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(out[i], (x[i] - mean) * factor * weight[i] + bias[i], 1e-4) << n;
    }
    k().layer_norm(x.data(), weight.data(), bias.data(), n, 1e-5F, x.data());
    EXPECT_EQ(0, std::memcmp(x.data(), out.data(), n * sizeof(float))) << "in place, " << n;
  }
}

TEST_P(KernelsTest, ScaleMultiplies) {
  std::vector<float> x = random_values(37, 1);
  const std::vector<float> before = x;
  k().scale(x.data(), 1.7F, x.size());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], before[i] * 1.7F);
}

TEST_P(KernelsTest, HalvesAreRoundedToNearest) {
  const std::vector<float> x = random_values(37, 5, 100.0F);
  std::vector<std::uint16_t> halves(37);
  k().to_half(x.data(), 37, halves.data());
  std::vector<float> back(37);
  k().from_half(halves.data(), 37, back.data());
  for (std::size_t i = 0; i < 37; ++i) {
    EXPECT_EQ(halves[i], half_from_float(x[i]));
    EXPECT_EQ(back[i], float_from_half(halves[i]));
  }
}

TEST_P(KernelsTest, QuantisationIsNearestInItsBlock) {
  std::vector<float> x = random_values(64, 6);
  for (std::size_t i = 32; i < 64; ++i) x[i] = 0;
  std::vector<std::int8_t> q(64);
  std::vector<ActivationBlock> blocks(2);
  k().quantize(x.data(), 64, q.data(), blocks.data());
  float largest = 0;
  for (std::size_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[i]));
  EXPECT_FLOAT_EQ(blocks[0].scale, largest / 127);
  std::int32_t low = 0;
  std::int32_t high = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_LE(std::abs(static_cast<float>(q[i]) * blocks[0].scale - x[i]),
              blocks[0].scale * 0.5001F);
    (i < 16 ? low : high) += q[i];
  }
  EXPECT_EQ(blocks[0].sum_low, low);
  EXPECT_EQ(blocks[0].sum_high, high);
  EXPECT_EQ(blocks[1].scale, 0.0F);
  EXPECT_EQ(blocks[1].scaled_sum, 0.0F);
}

// amx says so, and so one may be measured against the other on the same answers.
TEST(Kernels, AmxGivesTheBitsOfAvx512vnni) {
  const std::vector<const Kernels*> available = available_kernels();
  if (available.front()->name != "amx") GTEST_SKIP() << "this machine has no AMX";
  constexpr std::size_t rows = 33;
  constexpr std::size_t columns = 1280;
  constexpr std::size_t batch = 50;
  Arena arena;
  ThreadTeam team(2);
  const std::vector<float> values = random_values(batch * columns, 3);
  for (const auto quantization :
       {ActivationQuantization::int8, ActivationQuantization::int8_residual}) {
    const Activations activations =
        make_activations(*available.front(), batch, columns, values, quantization);
    for (const TensorType type : all_types) {
      const RandomTensor tensor(type, rows, columns, 4);
      const PackedMatrix packed(tensor.view, native_form(type), {}, arena, team);
      std::vector<std::vector<float>> outs;
      for (const Kernels* const set : {available[0], available[1]}) {
        outs.emplace_back(batch * rows);
        const Product product{
            .map = {.weights = &packed}, .out = outs.back().data(), .out_stride = rows};
        multiply(team, *set, activations, std::span(&product, 1));
      }
      ASSERT_EQ(available[1]->name, "avx512vnni");
      ASSERT_EQ(0, std::memcmp(outs[0].data(), outs[1].data(), batch * rows * sizeof(float)))
          << info(type).name;
    }
  }
}

TEST(Kernels, TheFastestAvailableComesFirstAndPortableIsThere) {
  const auto available = available_kernels();
  ASSERT_FALSE(available.empty());
  EXPECT_EQ(available.back()->name, "portable");
}

// With a name of kernels that should be there, as `tools/test.sh neon` gives it, this fails if they
// were not found, of which the tests above say nothing.
TEST(Kernels, TheEnvironmentsChoiceIsTakenOrElseTheFastest) {
  const char* const wanted = std::getenv("FATHOM_KERNELS");
  const bool chosen = wanted != nullptr && *wanted != '\0';
  EXPECT_EQ(kernels().name, chosen ? wanted : available_kernels().front()->name);
}

}  // namespace
}  // namespace fathom
