#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

namespace fathom {

/// What the elements of a PyTorch storage are.
enum class StorageType : std::uint8_t { F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool };

struct StorageTypeInfo {
  std::string_view name;      ///< as PyTorch calls its tensors' type: "float32"
  std::size_t element_bytes;  ///< bytes of one element
};

/// Name and size of a type.
const StorageTypeInfo& info(StorageType type);

/// A storage that a pickle refers to and whose elements lie elsewhere.
struct PickledStorage {
  StorageType type = StorageType::F32;
  std::string_view key;  ///< any bytes: the name of the record that holds its elements
  std::uint64_t elements = 0;
};

/// A tensor as a pickle describes it: a view of a storage. Nothing is checked against the storage.
struct PickledTensor {
  static constexpr std::size_t most_dimensions = 8;

  PickledStorage storage;
  std::uint64_t offset = 0;            ///< of its first element in the storage, in elements
  std::vector<std::size_t> shape;      ///< outermost dimension first
  std::vector<std::uint64_t> strides;  ///< one for each dimension, in elements
};

struct PickleNone {};
/// A list whose elements were passed over: nothing that describes a tensor is in one.
struct PickleList {};
/// A tuple; Pickle::elements gives what is in it.
struct PickleTuple {
  std::size_t begin = 0;
  std::size_t size = 0;
};
/// A dict or an OrderedDict; Pickle::items gives what is in it. Copies are the same dict.
struct PickleDict {
  std::size_t index = 0;
};
/// One of the classes and functions that state dicts use.
struct PickleGlobal {
  std::size_t index = 0;  ///< in the machine's own table
};

/// A value out of a pickle. Texts are the pickle's own bytes, of any kind; tensors and storages
/// belong to the Pickle.
using PickleValue =
    std::variant<PickleNone, bool, std::int64_t, double, std::string_view, PickleTuple, PickleList,
                 PickleDict, PickleGlobal, const PickledStorage*, const PickledTensor*>;

/// What a value is, for messages: "a dict", "the integer 7".
std::string_view describe(const PickleValue& value);

struct PickleItem {
  PickleValue key;
  PickleValue value;
};

/// What a Python pickle of protocol 2 to 5 holds, if it is one of plain values, dicts and tensors
/// as torch.save makes of a state dict.
///
/// A pickle is a program for a stack machine that may call any Python function. This machine has
/// no such instruction: a global is an entry of a fixed table, what REDUCE may do with each is
/// written out in it, and every other opcode and global is refused. A value that the pickle uses
/// many times is shared, so memory is at most proportional to the pickle's size; dicts may hold
/// themselves, so a reader must not follow them without a limit.
class Pickle {
 public:
  static constexpr std::size_t most_bytes = std::size_t{64} << 20U;

  /// Throws FileError (`file`, "`record`, byte N", problem) for what is not such a pickle, is
  /// larger than `most_bytes`, or makes more than 2 million values. `bytes` must outlive the
  /// result.
  static Pickle load(std::string_view file, std::string_view record,
                     std::span<const std::byte> bytes);

  Pickle(Pickle&&) noexcept;
  Pickle& operator=(Pickle&&) noexcept;
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;
  ~Pickle();

  /// The value that the pickle is of.
  [[nodiscard]] const PickleValue& root() const;
  /// In the order in which they were added; a key may be there more than once.
  [[nodiscard]] std::span<const PickleItem> items(PickleDict dict) const;
  [[nodiscard]] std::span<const PickleValue> elements(PickleTuple tuple) const;

 private:
  struct Objects;
  class Machine;
  explicit Pickle(std::unique_ptr<Objects> objects);

  std::unique_ptr<Objects> objects_;
};

}  // namespace fathom
