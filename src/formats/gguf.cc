#include "formats/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/file_kind.h"
#include "formats/printable.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "read as a little-endian machine does");

// The format's own limit for keys. Tensor names it limits to 64 bytes, which some writers exceed.
constexpr std::size_t longest_key = 65535;
constexpr std::size_t longest_tensor_name = 255;

constexpr std::uint32_t value_types = 13;

// By GGML's type ids, those no longer in use included.
constexpr std::array<std::string_view, 42> ggml_type_names{
    "F32",   "F16",        "Q4_0",       "Q4_1",       "Q4_2",     "Q4_3",     "Q5_0",
    "Q5_1",  "Q8_0",       "Q8_1",       "Q2_K",       "Q3_K",     "Q4_K",     "Q5_K",
    "Q6_K",  "Q8_K",       "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",  "IQ1_S",    "IQ4_NL",
    "IQ3_S", "IQ2_S",      "IQ4_XS",     "I8",         "I16",      "I32",      "I64",
    "F64",   "IQ1_M",      "BF16",       "Q4_0_4_4",   "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",
    "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",    "NVFP4",    "Q1_0"};

bool is_printable_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

/// Reads forward through the file. Every failure says the place it is in and the byte where the
/// value that could not be read begins.
class Cursor {
 public:
  Cursor(const std::string& file, std::span<const std::byte> bytes) : file_(file), bytes_(bytes) {}

  /// What is being read from here on: a section and, once known, the name of the item.
  void enter(std::string_view section) {
    section_ = section;
    name_ = {};
  }
  void name(std::string_view name) { name_ = name; }

  [[nodiscard]] std::size_t offset() const { return next_; }

  [[noreturn]] void fail(std::string_view problem) const {
    const std::string item = name_.empty() ? std::string(section_)
                                           : fmt::format("{} {}", section_, printable_name(name_));
    throw FileError(file_, fmt::format("{}, byte {}", item, begin_), problem);
  }

  /// Fails unless `count` items of at least `least_bytes` each may be left in the file.
  void require_room(std::uint64_t count, std::size_t least_bytes, std::string_view what) const {
    const std::size_t left = bytes_.size() - next_;
    if (count > left / least_bytes) {
      fail(fmt::format("{} {} found, which need at least {} bytes each; {} bytes are left", count,
                       what, least_bytes, left));
    }
  }

  template <class T>
  T read(std::string_view what) {
    begin_ = next_;
    const std::size_t left = bytes_.size() - next_;
    if (left < sizeof(T)) {
      fail(fmt::format("the file ends: {} bytes are left, {} expected for {}", left, sizeof(T),
                       what));
    }
    T value;
    std::memcpy(&value, bytes_.data() + next_, sizeof value);
    next_ += sizeof value;
    return value;
  }

  std::string_view read_string(std::string_view what) {
    const auto length = read<std::uint64_t>(what);
    const std::size_t left = bytes_.size() - next_;
    if (length > left) {
      fail(fmt::format("{} of {} bytes found, {} bytes are left", what, length, left));
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + next_),
                                static_cast<std::size_t>(length));
    next_ += text.size();
    return text;
  }

  bool read_bool() {
    const auto value = read<std::uint8_t>("a bool");
    if (value > 1) fail(fmt::format("bool {} found, 0 or 1 expected", value));
    return value == 1;
  }

  /// A key or a tensor's name: what is later shown to people and looked up.
  std::string_view read_name(std::string_view what, std::size_t longest) {
    const std::string_view text = read_string(what);
    if (text.empty()) fail(fmt::format("an empty {} found", what));
    if (text.size() > longest) {
      fail(fmt::format("{} of {} bytes found, at most {} expected", what, text.size(), longest));
    }
    if (!is_printable_ascii(text)) {
      fail(fmt::format("{} {} found, printable ASCII expected", what, printable_name(text)));
    }
    return text;
  }

 private:
  const std::string& file_;
  std::span<const std::byte> bytes_;
  std::size_t next_ = 0;
  std::size_t begin_ = 0;
  std::string_view section_;
  std::string_view name_;
};

template <class Stored, class Wide>
std::vector<Wide> read_numbers(Cursor& cursor, std::uint64_t count) {
  cursor.require_room(count, sizeof(Stored), "array elements");
  std::vector<Wide> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    values.push_back(cursor.read<Stored>("an array element"));
  }
  return values;
}

std::vector<bool> read_bools(Cursor& cursor, std::uint64_t count) {
  cursor.require_room(count, 1, "array elements");
  std::vector<bool> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) values.push_back(cursor.read_bool());
  return values;
}

std::vector<std::string> read_strings(Cursor& cursor, std::uint64_t count) {
  cursor.require_room(count, sizeof(std::uint64_t), "strings");
  std::vector<std::string> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) values.emplace_back(cursor.read_string("a string"));
  return values;
}

GgufType read_value_type(Cursor& cursor, std::string_view what) {
  const auto id = cursor.read<std::uint32_t>(what);
  if (id >= value_types) {
    cursor.fail(fmt::format("{} {} found, 0 to {} expected", what, id, value_types - 1));
  }
  return static_cast<GgufType>(id);
}

GgufValue read_array(Cursor& cursor) {
  const GgufType type = read_value_type(cursor, "array element type");
  if (type == GgufType::array) cursor.fail("an array of arrays found, which is not supported");
  const auto count = cursor.read<std::uint64_t>("an array's length");
  switch (type) {
    case GgufType::uint8:
      return read_numbers<std::uint8_t, std::uint64_t>(cursor, count);
    case GgufType::uint16:
      return read_numbers<std::uint16_t, std::uint64_t>(cursor, count);
    case GgufType::uint32:
      return read_numbers<std::uint32_t, std::uint64_t>(cursor, count);
    case GgufType::uint64:
      return read_numbers<std::uint64_t, std::uint64_t>(cursor, count);
    case GgufType::int8:
      return read_numbers<std::int8_t, std::int64_t>(cursor, count);
    case GgufType::int16:
      return read_numbers<std::int16_t, std::int64_t>(cursor, count);
    case GgufType::int32:
      return read_numbers<std::int32_t, std::int64_t>(cursor, count);
    case GgufType::int64:
      return read_numbers<std::int64_t, std::int64_t>(cursor, count);
    case GgufType::float32:
      return read_numbers<float, double>(cursor, count);
    case GgufType::float64:
      return read_numbers<double, double>(cursor, count);
    case GgufType::boolean:
      return read_bools(cursor, count);
    case GgufType::string:
      return read_strings(cursor, count);
    case GgufType::array:
      break;
  }
  cursor.fail("unreachable array element type");
}

GgufValue read_value(Cursor& cursor) {
  switch (read_value_type(cursor, "value type")) {
    case GgufType::uint8:
      return std::uint64_t{cursor.read<std::uint8_t>("a uint8")};
    case GgufType::uint16:
      return std::uint64_t{cursor.read<std::uint16_t>("a uint16")};
    case GgufType::uint32:
      return std::uint64_t{cursor.read<std::uint32_t>("a uint32")};
    case GgufType::uint64:
      return cursor.read<std::uint64_t>("a uint64");
    case GgufType::int8:
      return std::int64_t{cursor.read<std::int8_t>("an int8")};
    case GgufType::int16:
      return std::int64_t{cursor.read<std::int16_t>("an int16")};
    case GgufType::int32:
      return std::int64_t{cursor.read<std::int32_t>("an int32")};
    case GgufType::int64:
      return cursor.read<std::int64_t>("an int64");
    case GgufType::float32:
      return double{cursor.read<float>("a float32")};
    case GgufType::float64:
      return cursor.read<double>("a float64");
    case GgufType::boolean:
      return cursor.read_bool();
    case GgufType::string:
      return std::string(cursor.read_string("a string"));
    case GgufType::array:
      return read_array(cursor);
  }
  cursor.fail("unreachable value type");
}

void check_magic(const std::string& file, std::span<const std::byte> bytes) {
  constexpr std::string_view magic = "GGUF";
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min(bytes.size(), magic.size()));
  if (start != magic) {
    throw FileError(file, "byte 0",
                    fmt::format("{} found, a GGUF file expected", describe_file_kind(bytes)));
  }
}

void check_version(Cursor& cursor) {
  const auto version = cursor.read<std::uint32_t>("the version");
  if (version == 2 || version == 3) return;
  if (version != 0 && (version & 0xffffU) == 0) {
    cursor.fail("a big-endian GGUF file found, little-endian expected");
  }
  cursor.fail(fmt::format("GGUF version {} found, 2 or 3 expected", version));
}

/// A tensor as the file describes it, before its bytes are looked for.
struct TensorEntry {
  std::string_view name;
  TensorType type;
  std::vector<std::size_t> shape;  // outermost first
  std::uint64_t offset;            // from the start of the data
};

TensorEntry read_tensor_entry(Cursor& cursor, std::uint64_t alignment) {
  cursor.enter("tensor");
  TensorEntry entry{};
  entry.name = cursor.read_name("name", longest_tensor_name);
  cursor.name(entry.name);
  const auto dimensions = cursor.read<std::uint32_t>("the number of dimensions");
  if (dimensions < 1 || dimensions > 4) {
    cursor.fail(fmt::format("{} dimensions found, 1 to 4 expected", dimensions));
  }
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto extent = cursor.read<std::uint64_t>("a dimension");
    if (extent == 0) cursor.fail("a dimension of 0 found");
    entry.shape.push_back(extent);
  }
  std::ranges::reverse(entry.shape);
  const auto type = cursor.read<std::uint32_t>("the type");
  const std::optional<TensorType> supported = tensor_type_of_ggml(type);
  if (!supported.has_value()) {
    cursor.fail(type < ggml_type_names.size()
                    ? fmt::format("type {} found, which is not supported", ggml_type_names[type])
                    : fmt::format("unknown type {} found", type));
  }
  entry.type = *supported;
  entry.offset = cursor.read<std::uint64_t>("the offset");
  if (entry.offset % alignment != 0) {
    cursor.fail(fmt::format("offset {} found, a multiple of {} expected", entry.offset, alignment));
  }
  return entry;
}

/// The bytes of a tensor, inside `data`, which starts at byte `data_start` of the file.
std::span<const std::byte> locate(const std::string& file, const TensorEntry& entry,
                                  std::span<const std::byte> data, std::size_t data_start) {
  const std::string place = fmt::format("tensor {}", printable_name(entry.name));
  std::size_t size = 0;
  try {
    size = tensor_bytes(entry.type, entry.shape);
  } catch (const InputError& error) {
    throw FileError(file, place, error.what());
  }
  if (entry.offset > data.size() || size > data.size() - entry.offset) {
    throw FileError(file, place,
                    fmt::format("{} bytes at offset {} of the data found, which begins at byte {} "
                                "and has {} bytes",
                                size, entry.offset, data_start, data.size()));
  }
  return data.subspan(static_cast<std::size_t>(entry.offset), size);
}

void check_overlaps(const TensorSource& tensors) {
  std::vector<const TensorView*> by_place;
  by_place.reserve(tensors.tensors().size());
  for (const auto& [name, tensor] : tensors.tensors()) by_place.push_back(&tensor);
  std::ranges::sort(by_place, {}, [](const TensorView* tensor) { return tensor->bytes.data(); });
  for (std::size_t i = 1; i < by_place.size(); ++i) {
    const TensorView& before = *by_place[i - 1];
    const TensorView& after = *by_place[i];
    if (after.bytes.data() < before.bytes.data() + before.bytes.size()) {
      throw FileError(tensors.origin(), fmt::format("tensor {}", printable_name(after.name)),
                      fmt::format("its bytes overlap those of {}", printable_name(before.name)));
    }
  }
}

struct TypeName {
  std::string_view operator()(bool) const { return "a bool"; }
  std::string_view operator()(std::uint64_t) const { return "an unsigned integer"; }
  std::string_view operator()(std::int64_t) const { return "a signed integer"; }
  std::string_view operator()(double) const { return "a float"; }
  std::string_view operator()(const std::string&) const { return "a string"; }
  std::string_view operator()(const std::vector<bool>&) const { return "an array of bools"; }
  std::string_view operator()(const std::vector<std::uint64_t>&) const {
    return "an array of unsigned integers";
  }
  std::string_view operator()(const std::vector<std::int64_t>&) const {
    return "an array of signed integers";
  }
  std::string_view operator()(const std::vector<double>&) const { return "an array of floats"; }
  std::string_view operator()(const std::vector<std::string>&) const {
    return "an array of strings";
  }
};

std::string key_place(std::string_view key) {
  return fmt::format("metadata {}", printable_name(key));
}

[[noreturn]] void fail_type(const std::string& file, std::string_view key, const GgufValue& value,
                            std::string_view expected) {
  throw FileError(file, key_place(key),
                  fmt::format("{} found, {} expected", std::visit(TypeName{}, value), expected));
}

const GgufValue* find_value(const std::map<std::string, GgufValue, std::less<>>& metadata,
                            std::string_view key) {
  const auto where = metadata.find(key);
  return where == metadata.end() ? nullptr : &where->second;
}

/// The value, which must exist: what `found` points to or holds.
template <class Found>
decltype(auto) required(Found&& found, const std::string& file, std::string_view key,
                        std::string_view expected) {
  if (!found) {
    throw FileError(file, key_place(key), fmt::format("missing; {} expected", expected));
  }
  return *std::forward<Found>(found);
}

}  // namespace

GgufFile GgufFile::open(const std::filesystem::path& path) {
  const auto mapped = std::make_shared<const MappedFile>(path);
  GgufFile file = parse(mapped->path(), mapped->bytes());
  file.tensors_.keep_alive(mapped);
  return file;
}

GgufFile GgufFile::parse(std::string origin, std::span<const std::byte> bytes) {
  GgufFile file(std::move(origin));
  check_magic(file.path(), bytes);

  Cursor cursor(file.path(), bytes);
  cursor.enter("header");
  (void)cursor.read<std::uint32_t>("the magic");
  check_version(cursor);
  const auto tensor_count = cursor.read<std::uint64_t>("the number of tensors");
  // Name's length, one character, dimensions, one extent, type, offset.
  cursor.require_room(tensor_count, 8 + 1 + 4 + 8 + 4 + 8, "tensors");
  const auto metadata_count = cursor.read<std::uint64_t>("the number of metadata keys");
  // Key's length, one character, type, a value of one byte.
  cursor.require_room(metadata_count, 8 + 1 + 4 + 1, "metadata keys");

  for (std::uint64_t i = 0; i < metadata_count; ++i) {
    cursor.enter("metadata");
    const std::string_view key = cursor.read_name("key", longest_key);
    cursor.name(key);
    if (file.metadata_.contains(key)) cursor.fail("the key is there twice");
    const std::size_t begin = cursor.offset();
    file.metadata_.emplace(key, read_value(cursor));
    file.entries_.push_back({key, bytes.subspan(begin, cursor.offset() - begin)});
  }

  const std::uint64_t alignment =
      file.find_unsigned("general.alignment").value_or(default_gguf_alignment);
  if (!std::has_single_bit(alignment) || alignment > std::numeric_limits<std::uint32_t>::max()) {
    throw FileError(file.path(), key_place("general.alignment"),
                    fmt::format("{} found, a power of two below 2^32 expected", alignment));
  }

  std::vector<TensorEntry> entries;
  entries.reserve(static_cast<std::size_t>(tensor_count));
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    entries.push_back(read_tensor_entry(cursor, alignment));
  }

  const std::size_t data_start = (cursor.offset() + alignment - 1) / alignment * alignment;
  const std::span<const std::byte> data = bytes.subspan(std::min(data_start, bytes.size()));
  for (TensorEntry& entry : entries) {
    const std::span<const std::byte> tensor = locate(file.path(), entry, data, data_start);
    file.tensors_.add({.name = std::string(entry.name),
                       .type = entry.type,
                       .shape = std::move(entry.shape),
                       .bytes = tensor});
  }
  check_overlaps(file.tensors_);
  return file;
}

std::optional<std::uint64_t> GgufFile::find_unsigned(std::string_view key) const {
  const GgufValue* const value = find_value(metadata_, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* const number = std::get_if<std::uint64_t>(value)) return *number;
  if (const auto* const number = std::get_if<std::int64_t>(value)) {
    if (*number < 0) {
      throw FileError(path(), key_place(key),
                      fmt::format("{} found, an integer of at least 0 expected", *number));
    }
    return static_cast<std::uint64_t>(*number);
  }
  fail_type(path(), key, *value, "an integer");
}

std::optional<double> GgufFile::find_float(std::string_view key) const {
  const GgufValue* const value = find_value(metadata_, key);
  if (value == nullptr) return std::nullopt;
  const auto* const number = std::get_if<double>(value);
  if (number == nullptr) fail_type(path(), key, *value, "a float");
  if (!std::isfinite(*number)) {
    throw FileError(path(), key_place(key),
                    fmt::format("{} found, a finite number expected", *number));
  }
  return *number;
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const GgufValue* const value = find_value(metadata_, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* const truth = std::get_if<bool>(value)) return *truth;
  fail_type(path(), key, *value, "a bool");
}

const std::string* GgufFile::find_string(std::string_view key) const {
  const GgufValue* const value = find_value(metadata_, key);
  if (value == nullptr) return nullptr;
  if (const auto* const text = std::get_if<std::string>(value)) return text;
  fail_type(path(), key, *value, "a string");
}

const std::vector<std::string>* GgufFile::find_strings(std::string_view key) const {
  const GgufValue* const value = find_value(metadata_, key);
  if (value == nullptr) return nullptr;
  if (const auto* const texts = std::get_if<std::vector<std::string>>(value)) return texts;
  fail_type(path(), key, *value, "an array of strings");
}

std::optional<std::vector<std::int64_t>> GgufFile::find_integers(std::string_view key) const {
  const GgufValue* const value = find_value(metadata_, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* const numbers = std::get_if<std::vector<std::int64_t>>(value)) return *numbers;
  const auto* const numbers = std::get_if<std::vector<std::uint64_t>>(value);
  if (numbers == nullptr) fail_type(path(), key, *value, "an array of integers");
  std::vector<std::int64_t> result;
  result.reserve(numbers->size());
  for (const std::uint64_t number : *numbers) {
    if (!std::in_range<std::int64_t>(number)) {
      throw FileError(
          path(), key_place(key),
          fmt::format("element {} is {}, at most 2^63 - 1 expected", result.size(), number));
    }
    result.push_back(static_cast<std::int64_t>(number));
  }
  return result;
}

std::uint64_t GgufFile::require_unsigned(std::string_view key) const {
  return required(find_unsigned(key), path(), key, "an integer");
}

double GgufFile::require_float(std::string_view key) const {
  return required(find_float(key), path(), key, "a float");
}

const std::string& GgufFile::require_string(std::string_view key) const {
  return required(find_string(key), path(), key, "a string");
}

const std::vector<std::string>& GgufFile::require_strings(std::string_view key) const {
  return required(find_strings(key), path(), key, "an array of strings");
}

}  // namespace fathom
