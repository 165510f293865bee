#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/file_kind.h"
#include "formats/json_file.h"
#include "formats/printable.h"

namespace fathom {
namespace {

using nlohmann::json;

constexpr std::size_t length_bytes = 8;
constexpr std::uint64_t longest_header = 100'000'000;  // the format's own limit
constexpr std::size_t most_dimensions = 8;
constexpr std::size_t longest_tensor_name = 255;
constexpr auto metadata_key = "__metadata__";

std::optional<TensorType> tensor_type_of_dtype(std::string_view dtype) {
  if (dtype == "F32") return TensorType::F32;
  if (dtype == "F16") return TensorType::F16;
  if (dtype == "BF16") return TensorType::BF16;
  return std::nullopt;
}

/// The header's text. Checks its length and that the file is one of safetensors.
std::string_view header_text(const std::string& file, std::span<const std::byte> bytes) {
  if (bytes.size() < length_bytes + 2 || bytes[length_bytes] != std::byte{'{'}) {
    throw FileError(
        file, "byte 0",
        fmt::format("{} found, a safetensors file expected", describe_file_kind(bytes)));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > longest_header) {
    throw FileError(
        file, "byte 0",
        fmt::format("a header of {} bytes found, at most {} expected", length, longest_header));
  }
  const std::size_t left = bytes.size() - length_bytes;
  if (length > left) {
    throw FileError(file, "byte 0",
                    fmt::format("a header of {} bytes found, {} bytes are left", length, left));
  }
  return {reinterpret_cast<const char*>(bytes.data() + length_bytes),
          static_cast<std::size_t>(length)};
}

/// A tensor as the header describes it.
struct TensorEntry {
  TensorView view;          // without its bytes
  std::uint64_t begin = 0;  // in the data
  std::uint64_t end = 0;
};

class HeaderReader {
 public:
  HeaderReader(const std::string& file, std::size_t data_bytes)
      : file_(file), data_bytes_(data_bytes) {}

  /// In the order of their bytes, which fill the data from end to end.
  [[nodiscard]] std::vector<TensorEntry> read(const json& header) const {
    std::vector<TensorEntry> entries;
    for (const auto& [name, fields] : header.items()) {
      if (name == metadata_key) {
        check_metadata(fields);
      } else {
        entries.push_back(read_tensor(name, fields));
      }
    }
    std::ranges::sort(entries, {}, [](const TensorEntry& e) { return std::pair(e.begin, e.end); });
    check_layout(entries);
    return entries;
  }

 private:
  [[noreturn]] void fail(std::string_view tensor, std::string_view problem) const {
    throw FileError(file_, fmt::format("tensor {}", printable_name(tensor)), problem);
  }

  void check_metadata(const json& metadata) const {
    const bool strings = metadata.is_object() &&
                         std::ranges::all_of(metadata, [](const json& v) { return v.is_string(); });
    if (!strings) throw FileError(file_, "key '__metadata__'", "an object of strings expected");
  }

  [[nodiscard]] std::vector<std::uint64_t> read_integers(const std::string& tensor,
                                                         const json& fields,
                                                         std::string_view key) const {
    const auto array = fields.find(key);
    if (array == fields.end() || !array->is_array()) {
      fail(tensor, fmt::format("{} missing, or not an array", key));
    }
    std::vector<std::uint64_t> values;
    for (const json& value : *array) {
      if (!value.is_number_unsigned()) {
        fail(tensor, fmt::format("{} holds something else than integers of at least 0", key));
      }
      values.push_back(value.get<std::uint64_t>());
    }
    return values;
  }

  [[nodiscard]] TensorEntry read_tensor(const std::string& name, const json& fields) const {
    if (name.empty() || name.size() > longest_tensor_name) {
      fail(name, fmt::format("a name of {} bytes found, 1 to {} expected", name.size(),
                             longest_tensor_name));
    }
    if (!std::ranges::all_of(name, [](char c) { return c >= 0x20 && c < 0x7f; })) {
      fail(name, "printable ASCII expected in a name");
    }
    if (!fields.is_object()) fail(name, "an object expected");

    TensorEntry entry;
    entry.view.name = name;
    const auto dtype = fields.find("dtype");
    if (dtype == fields.end() || !dtype->is_string()) fail(name, "dtype missing, or not a string");
    const auto& dtype_name = dtype->get_ref<const std::string&>();
    const std::optional<TensorType> type = tensor_type_of_dtype(dtype_name);
    if (!type.has_value()) {
      fail(name, fmt::format("type {} found, which is not supported (F32, F16 and BF16 are)",
                             printable(dtype_name, 20)));
    }
    entry.view.type = *type;

    entry.view.shape = read_integers(name, fields, "shape");
    if (entry.view.shape.size() > most_dimensions) {
      fail(name, fmt::format("{} dimensions found, at most {} expected", entry.view.shape.size(),
                             most_dimensions));
    }
    const std::vector<std::uint64_t> offsets = read_integers(name, fields, "data_offsets");
    if (offsets.size() != 2) {
      fail(name, fmt::format("{} data_offsets found, 2 expected", offsets.size()));
    }
    entry.begin = offsets[0];
    entry.end = offsets[1];
    if (entry.begin > entry.end || entry.end > data_bytes_) {
      fail(name, fmt::format("data_offsets [{}, {}] found, a range inside the {} bytes of data "
                             "expected",
                             entry.begin, entry.end, data_bytes_));
    }
    return entry;
  }

  void check_layout(const std::vector<TensorEntry>& entries) const {
    std::uint64_t end = 0;
    for (const TensorEntry& entry : entries) {
      if (entry.begin != end) {
        fail(entry.view.name,
             fmt::format("its bytes begin at {} of the data, but those before it end at {}: {}",
                         entry.begin, end, entry.begin < end ? "they overlap" : "there is a gap"));
      }
      end = entry.end;
    }
    if (end != data_bytes_) {
      throw FileError(
          file_, "",
          fmt::format("{} bytes of data found, the header describes {}", data_bytes_, end));
    }
  }

  const std::string& file_;
  std::size_t data_bytes_;
};

}  // namespace

TensorSource open_safetensors(const std::filesystem::path& path) {
  const auto mapped = std::make_shared<const MappedFile>(path);
  TensorSource source = parse_safetensors(mapped->path(), mapped->bytes());
  source.keep_alive(mapped);
  return source;
}

TensorSource parse_safetensors(std::string origin, std::span<const std::byte> bytes) {
  TensorSource source(std::move(origin));
  const std::string_view text = header_text(source.origin(), bytes);
  const json header = parse_json(text, fmt::format("{}: header", source.origin()));
  const std::span<const std::byte> data = bytes.subspan(length_bytes + text.size());
  for (TensorEntry& entry : HeaderReader(source.origin(), data.size()).read(header)) {
    entry.view.bytes = data.subspan(static_cast<std::size_t>(entry.begin),
                                    static_cast<std::size_t>(entry.end - entry.begin));
    source.add(std::move(entry.view));
  }
  return source;
}

std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path) {
  const MappedFile mapped(path);
  const std::string_view text = header_text(mapped.path(), mapped.bytes());
  const json header = parse_json(text, fmt::format("{}: header", mapped.path()));
  // Checks all of the header.
  (void)HeaderReader(mapped.path(), mapped.bytes().size() - length_bytes - text.size())
      .read(header);
  const auto metadata = header.find(metadata_key);
  if (metadata == header.end()) return {};
  return metadata->get<std::map<std::string, std::string>>();
}

}  // namespace fathom
