#include "formats/torch_checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/file_kind.h"
#include "formats/pickle.h"
#include "formats/printable.h"
#include "formats/zip_archive.h"

namespace fathom {
namespace {

constexpr std::size_t longest_tensor_name = 255;
constexpr std::size_t longest_storage_key = 255;
constexpr std::size_t longest_text_record = 100;  // of version and byteorder
constexpr unsigned newest_version = 10;           // of the archive, that PyTorch reads
// Tied weights name the same bytes more than once; a file in which all bytes have more names than
// this is made to take memory.
constexpr std::uint64_t most_names_of_bytes = 8;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<TensorType> tensor_type_of(StorageType type) {
  switch (type) {
    case StorageType::F32:
      return TensorType::F32;
    case StorageType::F16:
      return TensorType::F16;
    case StorageType::BF16:
      return TensorType::BF16;
    default:
      return std::nullopt;
  }
}

/// The product, or nullopt if it overflows. No extents give 1, an extent of 0 gives 0.
std::optional<std::uint64_t> product(std::span<const std::uint64_t> extents) {
  if (std::ranges::find(extents, 0U) != extents.end()) return 0;
  std::uint64_t result = 1;
  for (const std::uint64_t extent : extents) {
    if (result > std::numeric_limits<std::uint64_t>::max() / extent) return std::nullopt;
    result *= extent;
  }
  return result;
}

/// Whether the elements lie one behind the other, the last dimension's first. `elements` of the
/// tensor did not overflow.
bool is_contiguous(const PickledTensor& tensor) {
  std::uint64_t expected = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] == 1) continue;  // PyTorch writes any stride then
    if (tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

/// The records of a checkpoint's archive: all lie in one folder, which is named as the file was.
class Records {
 public:
  Records(const ZipArchive& archive, std::string_view folder)
      : archive_(archive), folder_(folder) {}

  [[nodiscard]] const ZipEntry* find(std::string_view name) const {
    return archive_.find(fmt::format("{}/{}", folder_, name));
  }
  /// The bytes of a record that is read whole, nullopt if there is none of this name.
  [[nodiscard]] std::optional<std::span<const std::byte>> read(std::string_view name,
                                                               std::size_t most_bytes) const {
    const ZipEntry* const entry = find(name);
    if (entry == nullptr) return std::nullopt;
    if (entry->bytes.size() > most_bytes) {
      throw FileError(
          file(), name,
          fmt::format("{} bytes found, at most {} expected", entry->bytes.size(), most_bytes));
    }
    return archive_.checked_content(*entry);
  }
  /// The same. Throws FileError if there is none.
  [[nodiscard]] std::span<const std::byte> require(std::string_view name,
                                                   std::size_t most_bytes) const {
    const auto bytes = read(name, most_bytes);
    if (!bytes) throw FileError(file(), name, "missing in the archive");
    return *bytes;
  }
  /// Those of a record that may be large: nothing of it is read.
  [[nodiscard]] std::span<const std::byte> content(const ZipEntry& entry) const {
    return archive_.content(entry);
  }
  [[nodiscard]] const std::string& file() const { return archive_.origin(); }

 private:
  const ZipArchive& archive_;
  std::string_view folder_;
};

/// The one folder in the archive's root that has this file.
std::optional<std::string_view> find_folder(const ZipArchive& archive, std::string_view file) {
  std::optional<std::string_view> found;
  for (const ZipEntry& entry : archive.entries()) {
    const std::size_t slash = entry.name.find('/');
    if (slash == std::string_view::npos || entry.name.substr(slash + 1) != file) continue;
    if (found) {
      throw FileError(
          archive.origin(), "",
          fmt::format("a zip archive with {} in the folders {} and {} found; a PyTorch "
                      "checkpoint has one",
                      file, printable_name(*found), printable_name(entry.name.substr(0, slash))));
    }
    found = entry.name.substr(0, slash);
  }
  return found;
}

Records find_records(const ZipArchive& archive) {
  // TorchScript's have code beside the weights, and the weights refer to it.
  if (find_folder(archive, "constants.pkl")) {
    throw FileError(archive.origin(), "",
                    "a TorchScript archive found, a checkpoint of weights expected; to convert it "
                    "in Python: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)");
  }
  const std::optional<std::string_view> folder = find_folder(archive, "data.pkl");
  if (!folder) {
    throw FileError(archive.origin(), "",
                    "a zip archive without data.pkl found, a PyTorch checkpoint expected");
  }
  return {archive, *folder};
}

void check_version(const Records& records) {
  std::string_view text = text_of(records.require("version", longest_text_record));
  if (text.ends_with('\n')) text.remove_suffix(1);
  unsigned version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  const bool number = error == std::errc() && end == text.data() + text.size();
  if (!number || version < 1 || version > newest_version) {
    throw FileError(
        records.file(), "version",
        fmt::format("{} found, 1 to {} expected", printable_name(text), newest_version));
  }
}

void check_byte_order(const Records& records) {
  const auto record = records.read("byteorder", longest_text_record);
  if (!record) return;  // from before PyTorch 2.1
  const std::string_view order = text_of(*record);
  if (order == "little") return;
  throw FileError(records.file(), "byteorder",
                  fmt::format("{} found, 'little' expected", printable_name(order)));
}

/// Which of the pickle's dicts is the state dict: the one that was saved, if tensors are in it, or
/// one in it.
class StateDictFinder {
 public:
  StateDictFinder(const std::string& file, const Pickle& pickle) : file_(file), pickle_(pickle) {}

  [[nodiscard]] std::span<const PickleItem> find() const {
    const PickleDict* const root = std::get_if<PickleDict>(&pickle_.root());
    if (root == nullptr) {
      fail("", fmt::format("{} found, a state dict expected", describe(pickle_.root())));
    }
    const std::span<const PickleItem> items = pickle_.items(*root);
    std::array<std::optional<PickleDict>, wrappers.size()> wrapped;
    for (const PickleItem& item : items) {
      const auto* const key = std::get_if<std::string_view>(&item.key);
      const auto* const dict = std::get_if<PickleDict>(&item.value);
      if (key == nullptr || dict == nullptr) continue;
      const auto known = std::ranges::find(wrappers, *key);
      if (known == wrappers.end()) continue;
      std::optional<PickleDict>& place =
          wrapped.at(static_cast<std::size_t>(known - wrappers.begin()));
      if (place) fail(fmt::format("key '{}'", *known), "it is there twice");
      place = *dict;
    }

    std::optional<std::span<const PickleItem>> found;
    std::string_view found_where;
    const auto consider = [&](std::span<const PickleItem> candidate, std::string_view where) {
      if (!has_tensor(candidate)) return;
      if (found) {
        fail("", fmt::format("tensors found {} and {}: which are the model's is not clear",
                             found_where, where));
      }
      found = candidate;
      found_where = where;
    };
    consider(items, "in the dict that was saved");
    for (std::size_t i = 0; i < wrappers.size(); ++i) {
      if (wrapped.at(i)) consider(pickle_.items(*wrapped.at(i)), wrapper_places.at(i));
    }
    if (!found) {
      fail("", "no tensors found in the dict that was saved, nor in 'state_dict' or 'model' in it");
    }
    return *found;
  }

 private:
  static constexpr std::array<std::string_view, 2> wrappers{"state_dict", "model"};
  static constexpr std::array<std::string_view, 2> wrapper_places{"under 'state_dict'",
                                                                  "under 'model'"};

  static bool has_tensor(std::span<const PickleItem> items) {
    return std::ranges::any_of(items, [](const PickleItem& item) {
      return std::holds_alternative<const PickledTensor*>(item.value);
    });
  }

  [[noreturn]] void fail(std::string_view place, std::string_view problem) const {
    throw FileError(file_, place.empty() ? "data.pkl" : fmt::format("data.pkl, {}", place),
                    problem);
  }

  const std::string& file_;
  const Pickle& pickle_;
};

/// Adds the tensors of a state dict to a source, as views of the archive's records.
class TensorReader {
 public:
  TensorReader(const Records& records, std::uint64_t file_bytes, TensorSource& source)
      : records_(records), most_bytes_(file_bytes * most_names_of_bytes), source_(source) {}

  void read(const PickleItem& item) {
    const auto* const key = std::get_if<std::string_view>(&item.key);
    if (key == nullptr) {
      throw FileError(
          records_.file(), "data.pkl",
          fmt::format("{} found as a key of the state dict, a text expected", describe(item.key)));
    }
    check_name(*key);
    const auto* const tensor = std::get_if<const PickledTensor*>(&item.value);
    if (tensor == nullptr) {
      source_.refuse(std::string(*key),
                     fmt::format("{} found, a tensor expected", describe(item.value)));
    } else {
      read(std::string(*key), **tensor);
    }
  }

 private:
  [[noreturn]] void fail(std::string_view name, std::string_view problem) const {
    throw FileError(records_.file(), fmt::format("tensor {}", printable_name(name)), problem);
  }

  void check_name(std::string_view name) const {
    if (name.empty() || name.size() > longest_tensor_name) {
      fail(name, fmt::format("a name of {} bytes found, 1 to {} expected", name.size(),
                             longest_tensor_name));
    }
    if (!std::ranges::all_of(name, [](char c) { return c >= 0x20 && c < 0x7f; })) {
      fail(name, "printable ASCII expected in a name");
    }
  }

  void read(std::string name, const PickledTensor& tensor) {
    const std::span<const std::byte> storage = find_storage(name, tensor.storage);
    const std::optional<TensorType> type = tensor_type_of(tensor.storage.type);
    if (!type) {
      source_.refuse(std::move(name), fmt::format("type {} found, which is not supported (float32, "
                                                  "float16 and bfloat16 are)",
                                                  info(tensor.storage.type).name));
      return;
    }
    const std::optional<std::uint64_t> elements = product(tensor.shape);
    if (!elements) fail(name, fmt::format("shape [{}] overflows", fmt::join(tensor.shape, ", ")));
    if (tensor.offset > tensor.storage.elements) {
      fail(name, fmt::format("it begins at element {} of a storage of {}", tensor.offset,
                             tensor.storage.elements));
    }
    if (*elements > 0 && !is_contiguous(tensor)) {
      source_.refuse(std::move(name),
                     fmt::format("its elements do not lie one behind the other (shape [{}], "
                                 "strides [{}]); save it after .contiguous()",
                                 fmt::join(tensor.shape, ", "), fmt::join(tensor.strides, ", ")));
      return;
    }
    if (*elements > tensor.storage.elements - tensor.offset) {
      fail(name, fmt::format("{} elements from element {} on found, its storage has {}", *elements,
                             tensor.offset, tensor.storage.elements));
    }
    // Both lie inside the storage, so neither product overflows.
    const std::size_t element_bytes = info(tensor.storage.type).element_bytes;
    const auto bytes = storage.subspan(static_cast<std::size_t>(tensor.offset * element_bytes),
                                       static_cast<std::size_t>(*elements * element_bytes));
    count_bytes(bytes.size());
    source_.add({.name = std::move(name), .type = *type, .shape = tensor.shape, .bytes = bytes});
  }

  /// The record that holds a storage's elements: as many bytes as they need.
  [[nodiscard]] std::span<const std::byte> find_storage(std::string_view name,
                                                        const PickledStorage& storage) const {
    const ZipEntry* const entry = storage.key.size() > longest_storage_key
                                      ? nullptr
                                      : records_.find(fmt::format("data/{}", storage.key));
    if (entry == nullptr) {
      fail(name, fmt::format("its storage {} is not in the archive", printable_name(storage.key)));
    }
    const std::span<const std::byte> bytes = records_.content(*entry);
    const std::size_t element_bytes = info(storage.type).element_bytes;
    if (bytes.size() % element_bytes != 0 || bytes.size() / element_bytes != storage.elements) {
      fail(name, fmt::format("its storage {} has {} bytes, {} elements of type {} expected",
                             printable_name(storage.key), bytes.size(), storage.elements,
                             info(storage.type).name));
    }
    return bytes;
  }

  void count_bytes(std::uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= most_bytes_) return;
    throw FileError(records_.file(), "data.pkl",
                    fmt::format("tensors of more than {} times the file's bytes found: they share "
                                "them too often",
                                most_names_of_bytes));
  }

  const Records& records_;
  std::uint64_t most_bytes_;
  std::uint64_t bytes_ = 0;  // of all tensors that were added
  TensorSource& source_;
};

void check_kind(const std::string& file, std::span<const std::byte> bytes) {
  const std::string_view text = text_of(bytes);
  if (text.starts_with("PK")) return;  // what else is wrong with it ZipArchive says
  const std::string kind = describe_file_kind(bytes);
  if (is_legacy_torch_checkpoint(bytes)) {
    throw FileError(file, "byte 0",
                    fmt::format("{} found, which is not supported; to convert it in Python: "
                                "torch.save(torch.load(FILE, weights_only=True), NEW_FILE)",
                                kind));
  }
  throw FileError(file, "byte 0", fmt::format("{} found, a PyTorch checkpoint expected", kind));
}

}  // namespace

TensorSource open_torch_checkpoint(const std::filesystem::path& path) {
  const auto mapped = std::make_shared<const MappedFile>(path);
  TensorSource source = parse_torch_checkpoint(mapped->path(), mapped->bytes());
  source.keep_alive(mapped);
  return source;
}

TensorSource parse_torch_checkpoint(std::string origin, std::span<const std::byte> bytes) {
  TensorSource source(std::move(origin));
  check_kind(source.origin(), bytes);
  const ZipArchive archive = ZipArchive::parse(source.origin(), bytes);
  const Records records = find_records(archive);
  check_version(records);
  check_byte_order(records);
  const std::span<const std::byte> record = records.require("data.pkl", Pickle::most_bytes);
  const Pickle pickle = Pickle::load(source.origin(), "data.pkl", record);
  TensorReader reader(records, bytes.size(), source);
  for (const PickleItem& item : StateDictFinder(source.origin(), pickle).find()) reader.read(item);
  return source;
}

}  // namespace fathom
