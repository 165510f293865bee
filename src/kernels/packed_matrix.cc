#include "kernels/packed_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/dequantize.h"
#include "formats/quantize.h"

namespace fathom {
namespace {

// 32 weights of a row: w[i] = scale[i / 16] * (q[i] - offset of the form) + minimum.
struct QuantizedBlock {
  std::array<std::uint8_t, block_inputs> q;
  std::array<float, 2> scale;
  float minimum = 0;
};

float half_at(const std::byte* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof(bits));
  return float_from_half(bits);
}

std::uint8_t byte_at(const std::byte* p) { return std::to_integer<std::uint8_t>(*p); }

void read_nibbles(const std::byte* p, QuantizedBlock& block) {
  for (std::size_t i = 0; i < 16; ++i) {
    block.q[i] = byte_at(p + i) & 15;
    block.q[i + 16] = byte_at(p + i) >> 4;
  }
}

void add_bit4(const std::byte* p, QuantizedBlock& block) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, p, sizeof(bits));
  for (std::size_t i = 0; i < block_inputs; ++i) {
    block.q[i] |= static_cast<std::uint8_t>(((bits >> i) & 1) << 4);
  }
}

// The 6-bit scale and minimum of sub-block `j` of a Q4_K or Q5_K super-block.
struct ScaleAndMinimum {
  int scale, minimum;
};
ScaleAndMinimum k_scale(const std::byte* packed, std::size_t j) {
  if (j < 4) return {byte_at(packed + j) & 63, byte_at(packed + j + 4) & 63};
  return {(byte_at(packed + j + 4) & 15) | ((byte_at(packed + j - 4) >> 6) << 4),
          (byte_at(packed + j + 4) >> 4) | ((byte_at(packed + j) >> 6) << 4)};
}

void read_k_block(const std::byte* super_block, const std::byte* quants, std::size_t j,
                  QuantizedBlock& block) {
  const ScaleAndMinimum k = k_scale(super_block + 4, j);
  const float scale = half_at(super_block) * static_cast<float>(k.scale);
  block.scale = {scale, scale};
  block.minimum = -half_at(super_block + 2) * static_cast<float>(k.minimum);
  const int shift = (j % 2 == 0) ? 0 : 4;
  for (std::size_t i = 0; i < block_inputs; ++i) {
    block.q[i] = (byte_at(quants + (j / 2) * 32 + i) >> shift) & 15;
  }
}

// Reads inputs 32 * b ... 32 * b + 31 of a stored row.
void read_block(TensorType type, const std::byte* row, std::size_t b, QuantizedBlock& block) {
  const TensorTypeInfo& type_info = info(type);
  const std::size_t parts = type_info.block_elements / block_inputs;
  const std::byte* const p = row + (b / parts) * type_info.block_bytes;
  const std::size_t part = b % parts;
  const auto set_scale = [&](const std::byte* where) {
    const float scale = half_at(where);
    block.scale = {scale, scale};
  };
  switch (type) {
    case TensorType::Q4_0:
      set_scale(p);
      read_nibbles(p + 2, block);
      return;
    case TensorType::Q4_1:
      set_scale(p);
      block.minimum = half_at(p + 2);
      read_nibbles(p + 4, block);
      return;
    case TensorType::Q5_0:
      set_scale(p);
      read_nibbles(p + 6, block);
      add_bit4(p + 2, block);
      return;
    case TensorType::Q5_1:
      set_scale(p);
      block.minimum = half_at(p + 2);
      read_nibbles(p + 8, block);
      add_bit4(p + 4, block);
      return;
    case TensorType::Q8_0:
      set_scale(p);
      for (std::size_t i = 0; i < block_inputs; ++i) {
        block.q[i] = static_cast<std::uint8_t>(byte_at(p + 2 + i) ^ 0x80);
      }
      return;
    case TensorType::Q4_K:
      read_k_block(p, p + 16, part, block);
      return;
    case TensorType::Q5_K:
      read_k_block(p, p + 48, part, block);
      for (std::size_t i = 0; i < block_inputs; ++i) {
        block.q[i] |= static_cast<std::uint8_t>(((byte_at(p + 16 + i) >> part) & 1) << 4);
      }
      return;
    case TensorType::Q6_K: {
      const std::size_t half = part / 4;
      const std::size_t quarter = part % 4;
      const std::byte* const low = p + half * 64 + (quarter % 2) * 32;
      const std::byte* const high = p + 128 + half * 32;
      const int low_shift = quarter < 2 ? 0 : 4;
      for (std::size_t i = 0; i < block_inputs; ++i) {
        const int bits45 = (byte_at(high + i) >> (2 * quarter)) & 3;
        block.q[i] =
            static_cast<std::uint8_t>(((byte_at(low + i) >> low_shift) & 15) | (bits45 << 4));
      }
      const float d = half_at(p + 208);
      const std::byte* const scales = p + 192 + half * 8 + quarter * 2;
      for (std::size_t k = 0; k < 2; ++k) {
        block.scale[k] = d * static_cast<float>(static_cast<std::int8_t>(byte_at(scales + k)));
      }
      return;
    }
    case TensorType::F32:
    case TensorType::F16:
    case TensorType::BF16:
      break;
  }
  throw std::logic_error("a float type has no quantised blocks");
}

void store_half(float value, std::byte* out) {
  const std::uint16_t bits = half_from_float(value);
  std::memcpy(out, &bits, sizeof(bits));
}

// Writes one row's part of a block of a panel; `lane` is the row's place in it. The order of the
// inputs is that of KernelsFor::unpack.
void write_block(PackedForm form, const QuantizedBlock& block, std::size_t lane, std::byte* out) {
  const auto put = [&](std::size_t at, unsigned value) { out[at] = static_cast<std::byte>(value); };
  std::size_t quants = 512;
  if (form == PackedForm::int8) {
    for (std::size_t i = 0; i < block_inputs; ++i) put((i / 4) * 64 + lane * 4 + i % 4, block.q[i]);
  } else {
    for (std::size_t i = 0; i < 16; ++i) {
      put((i / 4) * 64 + lane * 4 + i % 4, (block.q[i] & 15U) | ((block.q[i + 16] & 15U) << 4));
    }
    quants = 256;
  }
  if (form == PackedForm::int5 || form == PackedForm::int5_min) {
    for (std::size_t g = 0; g < 8; ++g) {
      unsigned bits = 0;
      for (std::size_t k = 0; k < 4; ++k) bits |= ((block.q[4 * g + k] >> 4) & 1U) << k;
      std::byte& shared = out[256 + 8 * g + lane / 2];  // two rows a byte
      const int shift = lane % 2 == 0 ? 0 : 4;
      shared =
          (shared & static_cast<std::byte>(0xf0U >> shift)) | static_cast<std::byte>(bits << shift);
    }
    quants = 320;
  }
  if (form == PackedForm::int6) {
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t k = 0; k < 4; ++k) {
        unsigned fields = 0;
        for (std::size_t j = 0; j < 4; ++j) {
          fields |= ((block.q[16 * h + 4 * j + k] >> 4) & 3U) << (2 * j);
        }
        put(256 + 64 * h + lane * 4 + k, fields);
      }
    }
    quants = 384;
  }
  store_half(block.scale[0], out + quants + 2 * lane);
  if (form == PackedForm::int6) store_half(block.scale[1], out + quants + 32 + 2 * lane);
  if (form == PackedForm::int4_min || form == PackedForm::int5_min) {
    store_half(block.minimum, out + quants + 32 + 2 * lane);
  }
}

}  // namespace

PackedForm native_form(TensorType type) {
  switch (type) {
    case TensorType::F32:
      return PackedForm::float32;
    case TensorType::F16:
      return PackedForm::half;
    case TensorType::BF16:
      return PackedForm::bfloat16;
    case TensorType::Q4_0:
      return PackedForm::int4;
    case TensorType::Q4_1:
    case TensorType::Q4_K:
      return PackedForm::int4_min;
    case TensorType::Q5_0:
      return PackedForm::int5;
    case TensorType::Q5_1:
    case TensorType::Q5_K:
      return PackedForm::int5_min;
    case TensorType::Q6_K:
      return PackedForm::int6;
    case TensorType::Q8_0:
      return PackedForm::int8;
  }
  throw std::logic_error("unknown tensor type");
}

PackedMatrix::PackedMatrix(const TensorView& tensor, PackedForm form,
                           std::span<const std::uint32_t> row_order, Arena& arena, ThreadTeam& team)
    : rows_(tensor.shape.at(0)),
      columns_(tensor.shape.at(1)),
      form_(form),
      panel_bytes_(panel_step_bytes(form) *
                   (is_integer(form) ? columns_ / block_inputs : columns_)) {
  const TensorType type = tensor.used_type();
  if (form != PackedForm::float32 && form != native_form(type)) {
    throw std::logic_error("a packed form is the type's own or float32");
  }
  if (!row_order.empty() && row_order.size() != rows_) {
    throw std::logic_error("row_order must name every row");
  }
  const std::span<std::byte> data = arena.allocate(panels() * panel_bytes_);
  data_ = data;
  const std::size_t row_bytes = rows_ == 0 ? 0 : tensor.bytes.size() / rows_;
  const auto source_row = [&](std::size_t row) {
    return tensor.bytes.subspan((row_order.empty() ? row : row_order[row]) * row_bytes, row_bytes);
  };
  team.run_shares(panels(), 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> widened(form == PackedForm::float32 ? columns_ : 0);
    RowConverter converter(tensor.type, type, columns_);
    std::vector<std::byte> converted(tensor.converted ? converter.to_bytes() : 0);
    const auto row_to_pack = [&](std::size_t r) -> std::span<const std::byte> {
      if (!tensor.converted) return source_row(r);
      try {
        converter.convert(source_row(r), converted);
      } catch (const InputError& error) {
        throw InputError(fmt::format("tensor '{}': {}", tensor.name, error.what()));
      }
      return converted;
    };
    for (std::size_t p = begin; p < end; ++p) {
      std::byte* const panel = data.data() + p * panel_bytes_;
      const std::size_t lanes = std::min(panel_rows, rows_ - p * panel_rows);
      // Lanes without a row read as zeros; bits that rows share start at zero too.
      if (lanes < panel_rows) std::memset(panel, 0, panel_bytes_);
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const std::span<const std::byte> row = row_to_pack(p * panel_rows + lane);
        if (is_integer(form)) {
          QuantizedBlock block;
          for (std::size_t b = 0; b < columns_ / block_inputs; ++b) {
            read_block(type, row.data(), b, block);
            write_block(form, block, lane, panel + b * panel_step_bytes(form));
          }
        } else if (form == PackedForm::float32) {
          dequantize(type, row, widened);
          for (std::size_t c = 0; c < columns_; ++c) {
            std::memcpy(panel + (c * panel_rows + lane) * 4, &widened[c], 4);
          }
        } else {
          for (std::size_t c = 0; c < columns_; ++c) {
            std::memcpy(panel + (c * panel_rows + lane) * 2, row.data() + c * 2, 2);
          }
        }
      }
    }
  });
}

}  // namespace fathom
