#include "formats/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"
#include "formats/tensor_source.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little,
              "written as a little-endian machine does");

constexpr std::uint32_t gguf_version = 3;
constexpr std::uint64_t fixed_bytes = 24;  // magic, version, two counts
constexpr std::size_t longest_key = 65535;
// GGML_MAX_NAME is 64, of which one ends the string.
constexpr std::size_t longest_tensor_name = 63;

void insert_name(std::vector<std::string>& names, std::string_view name, std::string_view what,
                 std::size_t longest) {
  if (name.empty() || name.size() > longest) {
    throw InputError(fmt::format("{} {} is {} bytes long; GGUF files have 1 to {}", what,
                                 printable_name(name), name.size(), longest));
  }
  const auto place = std::lower_bound(names.begin(), names.end(), name);
  if (place != names.end() && *place == name) {
    throw InputError(fmt::format("{} {} comes twice", what, printable_name(name)));
  }
  names.emplace(place, name);
}

}  // namespace

void GgufHeader::append_string(std::string& to, std::string_view text) {
  append(to, static_cast<std::uint64_t>(text.size()));
  to.append(text);
}

void GgufHeader::begin_value(std::string_view key, GgufType type) {
  insert_name(keys_, key, "metadata key", longest_key);
  put_string(key);
  put(type);
  ++metadata_count_;
}

void GgufHeader::begin_array(std::string_view key, GgufType type, std::size_t count) {
  begin_value(key, GgufType::array);
  put(type);
  put(static_cast<std::uint64_t>(count));
}

void GgufHeader::add_bool(std::string_view key, bool value) {
  begin_value(key, GgufType::boolean);
  put(static_cast<std::uint8_t>(value));
}

void GgufHeader::add_string(std::string_view key, std::string_view value) {
  begin_value(key, GgufType::string);
  put_string(value);
}

void GgufHeader::add_bools(std::string_view key, const std::vector<bool>& values) {
  begin_array(key, GgufType::boolean, values.size());
  for (const bool value : values) put(static_cast<std::uint8_t>(value));
}

void GgufHeader::add_strings(std::string_view key, std::span<const std::string> values) {
  begin_array(key, GgufType::string, values.size());
  for (const std::string& value : values) put_string(value);
}

void GgufHeader::add_entry(const GgufEntry& entry) {
  insert_name(keys_, entry.key, "metadata key", longest_key);
  put_string(entry.key);
  metadata_.append(reinterpret_cast<const char*>(entry.value.data()), entry.value.size());
  ++metadata_count_;
}

void GgufHeader::add_tensor(std::string_view name, TensorType type,
                            std::span<const std::size_t> shape) {
  if (shape.empty() || shape.size() > 4 || std::ranges::count(shape, std::size_t{0}) != 0) {
    throw InputError(fmt::format("tensor {}: GGUF tensors have 1 to 4 dimensions of at least 1",
                                 printable_name(name)));
  }
  const std::uint64_t size = fathom::tensor_bytes(type, shape);
  insert_name(names_, name, "tensor", longest_tensor_name);
  const std::uint64_t offset = round_up(data_end_);
  append_string(tensors_, name);
  append(tensors_, static_cast<std::uint32_t>(shape.size()));
  for (std::size_t i = shape.size(); i-- > 0;) {
    append(tensors_, static_cast<std::uint64_t>(shape[i]));
  }
  append(tensors_, info(type).ggml_id);
  append(tensors_, offset);
  tensor_bytes_.push_back(size);
  data_end_ = offset + size;
}

std::uint64_t GgufHeader::data_begin() const {
  return round_up(fixed_bytes + metadata_.size() + tensors_.size());
}

std::uint64_t GgufHeader::file_bytes() const { return data_begin() + round_up(data_end_); }

std::string GgufHeader::bytes() const {
  std::string all = "GGUF";
  append(all, gguf_version);
  append(all, static_cast<std::uint64_t>(tensor_bytes_.size()));
  append(all, metadata_count_);
  all += metadata_;
  all += tensors_;
  all.resize(data_begin());
  return all;
}

GgufOutput::GgufOutput(const std::filesystem::path& path, const GgufHeader& header)
    : file_(path, header.file_bytes()),
      alignment_(header.alignment_),
      tensor_bytes_(header.tensor_bytes_) {
  const std::string begin = header.bytes();
  file_.append(std::as_bytes(std::span(begin)));
}

void GgufOutput::append(std::span<const std::byte> piece) {
  if (tensor_ == tensor_bytes_.size() || piece.size() > tensor_bytes_[tensor_] - in_tensor_) {
    throw std::logic_error("a piece goes beyond the end of its tensor");
  }
  file_.append(piece);
  in_tensor_ += piece.size();
  if (in_tensor_ < tensor_bytes_[tensor_]) return;
  const std::vector<std::byte> padding((alignment_ - in_tensor_ % alignment_) % alignment_);
  file_.append(padding);
  in_tensor_ = 0;
  ++tensor_;
}

void GgufOutput::commit() {
  if (tensor_ != tensor_bytes_.size()) throw std::logic_error("tensors are missing");
  file_.commit();
}

}  // namespace fathom
