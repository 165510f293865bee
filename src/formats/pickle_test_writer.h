#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "formats/zip_test_writer.h"

/// For tests: the opcodes of pickles, to be put one behind the other.
namespace fathom::pickled {

inline std::string text(std::string_view text) {
  std::string out = "X";
  ZipTestWriter::put<std::uint32_t>(out, text.size());
  return out.append(text);
}

/// LONG1 of eight bytes.
inline std::string integer(std::int64_t number) {
  std::string out = "\x8a\x08";
  ZipTestWriter::put<std::uint64_t>(out, static_cast<std::uint64_t>(number));
  return out;
}

inline std::string integers(std::initializer_list<std::int64_t> numbers) {
  std::string out = "(";
  for (const std::int64_t number : numbers) out += integer(number);
  return out + "t";
}

inline std::string global(std::string_view module, std::string_view name) {
  return std::string("c").append(module).append("\n").append(name).append("\n");
}

inline std::string ordered_dict() { return global("collections", "OrderedDict") + ")R"; }

inline std::string storage(std::string_view type, std::string_view key, std::int64_t elements) {
  return std::string("(") + text("storage") + global("torch", type) + text(key) + text("cpu") +
         integer(elements) + "tQ";
}

struct TensorLayout {
  std::int64_t offset = 0;
  std::initializer_list<std::int64_t> shape;
  std::initializer_list<std::int64_t> strides;
};

/// Of a storage, which is opcodes too.
inline std::string tensor(std::string_view storage, const TensorLayout& layout) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + std::string(storage) +
         integer(layout.offset) + integers(layout.shape) + integers(layout.strides) + "\x89" +
         ordered_dict() + "tR";
}

/// Keys and values, as opcodes, of a dict.
inline std::string dict(std::string_view items) {
  return std::string("}(").append(items).append("u");
}

/// A whole pickle of protocol 2.
inline std::string pickle(std::string_view opcodes) {
  return std::string("\x80\x02").append(opcodes).append(".");
}

}  // namespace fathom::pickled
