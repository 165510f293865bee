#include "formats/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "read as a little-endian machine does");

// A tensor takes about 30. Each is at most some 100 bytes of memory.
constexpr std::size_t most_values = 2'000'000;

// The opcodes of Python's pickle module that are carried out.
enum class Opcode : std::uint8_t {
  mark = '(',
  stop = '.',
  none = 'N',
  new_true = 0x88,
  new_false = 0x89,
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  long1 = 0x8a,
  binfloat = 'G',
  binunicode = 'X',
  short_binunicode = 0x8c,
  empty_tuple = ')',
  tuple = 't',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  empty_list = ']',
  append = 'a',
  appends = 'e',
  empty_dict = '}',
  setitem = 's',
  setitems = 'u',
  global = 'c',
  stack_global = 0x93,
  reduce = 'R',
  build = 'b',
  binpersid = 'Q',
  binput = 'q',
  long_binput = 'r',
  memoize = 0x94,
  binget = 'h',
  long_binget = 'j',
  proto = 0x80,
  frame = 0x95,
};

struct OpcodeName {
  std::uint8_t opcode;
  std::string_view name;
};

// The others, to be refused by name.
constexpr std::array<OpcodeName, 34> refused_opcodes{{
    {'0', "POP"},
    {'1', "POP_MARK"},
    {'2', "DUP"},
    {'F', "FLOAT"},
    {'I', "INT"},
    {'L', "LONG"},
    {'P', "PERSID"},
    {'S', "STRING"},
    {'T', "BINSTRING"},
    {'U', "SHORT_BINSTRING"},
    {'V', "UNICODE"},
    {'B', "BINBYTES"},
    {'C', "SHORT_BINBYTES"},
    {'d', "DICT"},
    {'g', "GET"},
    {'i', "INST"},
    {'l', "LIST"},
    {'o', "OBJ"},
    {'p', "PUT"},
    {0x80, "PROTO"},  // but at the start
    {0x81, "NEWOBJ"},
    {0x82, "EXT1"},
    {0x83, "EXT2"},
    {0x84, "EXT4"},
    {0x8b, "LONG4"},
    {0x8d, "BINUNICODE8"},
    {0x8e, "BINBYTES8"},
    {0x8f, "EMPTY_SET"},
    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},
    {0x92, "NEWOBJ_EX"},
    {0x96, "BYTEARRAY8"},
    {0x97, "NEXT_BUFFER"},
    {0x98, "READONLY_BUFFER"},
}};

enum class GlobalKind : std::uint8_t {
  ordered_dict,
  rebuild_tensor,
  rebuild_parameter,
  rebuild_parameter_with_state,
  storage,
};

struct GlobalEntry {
  std::string_view module;
  std::string_view name;
  GlobalKind kind;
  StorageType type = StorageType::F32;  // of a storage
};

// All that a pickle can name. PickleGlobal::index counts in here.
constexpr std::array<GlobalEntry, 14> globals{{
    {"collections", "OrderedDict", GlobalKind::ordered_dict},
    {"torch._utils", "_rebuild_tensor_v2", GlobalKind::rebuild_tensor},
    {"torch._utils", "_rebuild_parameter", GlobalKind::rebuild_parameter},
    {"torch._utils", "_rebuild_parameter_with_state", GlobalKind::rebuild_parameter_with_state},
    {"torch", "DoubleStorage", GlobalKind::storage, StorageType::F64},
    {"torch", "FloatStorage", GlobalKind::storage, StorageType::F32},
    {"torch", "HalfStorage", GlobalKind::storage, StorageType::F16},
    {"torch", "BFloat16Storage", GlobalKind::storage, StorageType::BF16},
    {"torch", "LongStorage", GlobalKind::storage, StorageType::I64},
    {"torch", "IntStorage", GlobalKind::storage, StorageType::I32},
    {"torch", "ShortStorage", GlobalKind::storage, StorageType::I16},
    {"torch", "CharStorage", GlobalKind::storage, StorageType::I8},
    {"torch", "ByteStorage", GlobalKind::storage, StorageType::U8},
    {"torch", "BoolStorage", GlobalKind::storage, StorageType::Bool},
}};

}  // namespace

const StorageTypeInfo& info(StorageType type) {
  static constexpr std::array<StorageTypeInfo, 10> infos{{
      {"float64", 8},
      {"float32", 4},
      {"float16", 2},
      {"bfloat16", 2},
      {"int64", 8},
      {"int32", 4},
      {"int16", 2},
      {"int8", 1},
      {"uint8", 1},
      {"bool", 1},
  }};
  return infos[static_cast<std::size_t>(type)];
}

std::string_view describe(const PickleValue& value) {
  struct Describer {
    std::string_view operator()(PickleNone) const { return "None"; }
    std::string_view operator()(bool) const { return "a bool"; }
    std::string_view operator()(std::int64_t) const { return "an integer"; }
    std::string_view operator()(double) const { return "a float"; }
    std::string_view operator()(std::string_view) const { return "a text"; }
    std::string_view operator()(PickleTuple) const { return "a tuple"; }
    std::string_view operator()(PickleList) const { return "a list"; }
    std::string_view operator()(PickleDict) const { return "a dict"; }
    std::string_view operator()(PickleGlobal) const { return "a class or function"; }
    std::string_view operator()(const PickledStorage*) const { return "a storage"; }
    std::string_view operator()(const PickledTensor*) const { return "a tensor"; }
  };
  return std::visit(Describer(), value);
}

// Nothing here points at anything else: values refer to objects by their place, so that however
// deeply they are nested, or if they hold themselves, they are freed one after another.
struct Pickle::Objects {
  PickleValue root;
  std::vector<PickleValue> elements;  // of all tuples
  std::vector<std::vector<PickleItem>> dicts;
  std::deque<PickledStorage> storages;  // deques, whose elements stay where they are
  std::deque<PickledTensor> tensors;
};

class Pickle::Machine {
 public:
  Machine(std::string_view file, std::string_view record, std::span<const std::byte> bytes,
          Objects& objects)
      : file_(file), record_(record), bytes_(bytes), objects_(objects) {}

  void run() {
    check_start();
    while (step()) {
    }
  }

 private:
  [[noreturn]] void fail(std::string_view problem) const {
    throw FileError(file_, fmt::format("{}, byte {}", record_, begin_), problem);
  }

  void check_start() {
    if (bytes_.size() > most_bytes) {
      fail(fmt::format("a pickle of {} bytes found, at most {} expected", bytes_.size(),
                       most_bytes));
    }
    constexpr unsigned lowest = 2;
    constexpr unsigned highest = 5;
    if (bytes_.size() < 2 || static_cast<Opcode>(bytes_[0]) != Opcode::proto) {
      fail("a pickle of protocol 2 to 5 expected");
    }
    const auto protocol = std::to_integer<unsigned>(bytes_[1]);
    if (protocol < lowest || protocol > highest) {
      fail(fmt::format("a pickle of protocol {} found, 2 to 5 expected", protocol));
    }
    next_ = 2;
  }

  // ---- Bytes --------------------------------------------------------------------------------

  std::span<const std::byte> take(std::uint64_t count) {
    const std::size_t left = bytes_.size() - next_;
    if (count > left) {
      fail(fmt::format("the pickle ends: {} bytes are left, {} expected", left, count));
    }
    const auto taken = bytes_.subspan(next_, static_cast<std::size_t>(count));
    next_ += taken.size();
    return taken;
  }

  template <class T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view read_text(std::uint64_t length) {
    const auto text = take(length);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  std::string_view read_line() {
    const auto rest = bytes_.subspan(next_);
    const auto end = std::ranges::find(rest, std::byte{'\n'});
    if (end == rest.end()) fail("a line without an end found");
    const auto length = static_cast<std::size_t>(end - rest.begin());
    const std::string_view line = read_text(length);
    take(1);
    return line;
  }

  // Two's complement of as many bytes as it needs.
  std::int64_t read_long() {
    const auto size = read<std::uint8_t>();
    if (size > sizeof(std::int64_t)) {
      fail(fmt::format("an integer of {} bytes found, at most 8 expected", size));
    }
    const auto bytes = take(size);
    const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0};
    std::int64_t value = negative ? -1 : 0;
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }

  double read_float() {  // the one number that is big-endian
    std::array<std::byte, sizeof(double)> bytes{};
    std::ranges::copy(take(bytes.size()), bytes.begin());
    std::ranges::reverse(bytes);
    return std::bit_cast<double>(bytes);
  }

  // ---- The stack and the memo ---------------------------------------------------------------

  void count_value() {
    if (++values_ > most_values) fail(fmt::format("more than {} values", most_values));
  }

  void push(PickleValue value) {
    count_value();
    stack_.push_back(value);
  }

  /// Where the values that may be popped begin.
  [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  void require_values(std::size_t count) const {
    if (stack_.size() - floor() < count) fail("the stack holds too few values for this opcode");
  }

  [[nodiscard]] const PickleValue& top() const {
    require_values(1);
    return stack_.back();
  }

  PickleValue pop() {
    const PickleValue value = top();
    stack_.pop_back();
    return value;
  }

  /// Takes off the last mark; what lies above the given place of the stack was pushed after it.
  std::size_t pop_mark() {
    if (marks_.empty()) fail("the stack holds no mark");
    const std::size_t mark = marks_.back();
    marks_.pop_back();
    return mark;
  }

  // Python numbers what it remembers from 0 on, without gaps.
  void remember(std::size_t index) {
    if (index > memo_.size()) {
      fail(fmt::format("memo {} is set, but {} is the next", index, memo_.size()));
    }
    const PickleValue value = top();
    if (index < memo_.size()) {
      memo_[index] = value;
    } else {
      count_value();
      memo_.push_back(value);
    }
  }

  void recall(std::size_t index) {
    if (index >= memo_.size()) {
      fail(fmt::format("memo {} is asked for, {} are set", index, memo_.size()));
    }
    push(memo_[index]);
  }

  // ---- Opcodes ------------------------------------------------------------------------------

  /// Carries out one opcode. False at the end.
  bool step() {
    begin_ = next_;
    if (next_ == bytes_.size()) fail("the pickle ends without STOP");
    const auto opcode = read<std::uint8_t>();
    switch (static_cast<Opcode>(opcode)) {
      case Opcode::mark:
        count_value();
        marks_.push_back(stack_.size());
        return true;
      case Opcode::stop:
        stop();
        return false;
      case Opcode::none:
        push(PickleNone());
        return true;
      case Opcode::new_true:
        push(true);
        return true;
      case Opcode::new_false:
        push(false);
        return true;
      case Opcode::binint:
        push(std::int64_t{read<std::int32_t>()});
        return true;
      case Opcode::binint1:
        push(std::int64_t{read<std::uint8_t>()});
        return true;
      case Opcode::binint2:
        push(std::int64_t{read<std::uint16_t>()});
        return true;
      case Opcode::long1:
        push(read_long());
        return true;
      case Opcode::binfloat:
        push(read_float());
        return true;
      case Opcode::binunicode:
        push(read_text(read<std::uint32_t>()));
        return true;
      case Opcode::short_binunicode:
        push(read_text(read<std::uint8_t>()));
        return true;
      case Opcode::empty_tuple:
        make_tuple(0);
        return true;
      case Opcode::tuple:
        make_tuple_to_mark();
        return true;
      case Opcode::tuple1:
        make_tuple(1);
        return true;
      case Opcode::tuple2:
        make_tuple(2);
        return true;
      case Opcode::tuple3:
        make_tuple(3);
        return true;
      case Opcode::empty_list:
        push(PickleList());
        return true;
      case Opcode::append:
        (void)pop();
        require<PickleList>("APPEND", top(), "a list");
        return true;
      case Opcode::appends:
        stack_.resize(pop_mark());
        require<PickleList>("APPENDS", top(), "a list");
        return true;
      case Opcode::empty_dict:
        make_dict();
        return true;
      case Opcode::setitem:
        set_items(2);
        return true;
      case Opcode::setitems:
        set_items(stack_.size() - pop_mark());
        return true;
      case Opcode::global: {
        const std::string_view module = read_line();
        push_global(module, read_line());
        return true;
      }
      case Opcode::stack_global: {
        const PickleValue name = pop();
        const PickleValue module = pop();
        push_global(require<std::string_view>("STACK_GLOBAL", module, "a text"),
                    require<std::string_view>("STACK_GLOBAL", name, "a text"));
        return true;
      }
      case Opcode::reduce:
        reduce();
        return true;
      case Opcode::build:
        build();
        return true;
      case Opcode::binpersid:
        make_storage();
        return true;
      case Opcode::binput:
        remember(read<std::uint8_t>());
        return true;
      case Opcode::long_binput:
        remember(read<std::uint32_t>());
        return true;
      case Opcode::memoize:
        remember(memo_.size());
        return true;
      case Opcode::binget:
        recall(read<std::uint8_t>());
        return true;
      case Opcode::long_binget:
        recall(read<std::uint32_t>());
        return true;
      case Opcode::frame:
        skip_frame();
        return true;
      case Opcode::proto:
        break;  // at the start only
    }
    refuse_opcode(opcode);
  }

  [[noreturn]] void refuse_opcode(std::uint8_t opcode) const {
    const auto known = std::ranges::find(refused_opcodes, opcode, &OpcodeName::opcode);
    if (known == refused_opcodes.end()) {
      fail(fmt::format("opcode {:#04x} is not one that a checkpoint of weights uses", opcode));
    }
    fail(fmt::format("opcode {} is not one that a checkpoint of weights uses", known->name));
  }

  void stop() {
    objects_.root = pop();
    if (!stack_.empty() || !marks_.empty()) fail("more than one value is left at the end");
    if (next_ != bytes_.size()) {
      fail(fmt::format("{} bytes found behind the end of the pickle", bytes_.size() - next_));
    }
  }

  void skip_frame() {  // a hint for readers of streams
    const auto length = read<std::uint64_t>();
    if (length > bytes_.size() - next_) {
      fail(fmt::format("a frame of {} bytes found, {} bytes are left", length,
                       bytes_.size() - next_));
    }
  }

  void make_tuple(std::size_t size) {
    require_values(size);
    const PickleTuple tuple{objects_.elements.size(), size};
    const auto first = stack_.end() - static_cast<std::ptrdiff_t>(size);
    objects_.elements.insert(objects_.elements.end(), first, stack_.end());
    stack_.erase(first, stack_.end());
    push(tuple);
  }

  void make_tuple_to_mark() { make_tuple(stack_.size() - pop_mark()); }

  void make_dict() {
    const PickleDict dict{objects_.dicts.size()};
    objects_.dicts.emplace_back();
    push(dict);
  }

  // The last `count` values are keys and their values; the dict lies below them.
  void set_items(std::size_t count) {
    require_values(count + 1);
    if (count % 2 != 0) fail("a key without a value found");
    const std::size_t first = stack_.size() - count;
    const auto dict = require<PickleDict>("SETITEMS", stack_[first - 1], "a dict");
    std::vector<PickleItem>& items = objects_.dicts[dict.index];
    for (std::size_t i = first; i < stack_.size(); i += 2) {
      items.push_back({stack_[i], stack_[i + 1]});
    }
    stack_.resize(first);
  }

  void push_global(std::string_view module, std::string_view name) {
    const auto known = std::ranges::find_if(
        globals, [&](const GlobalEntry& g) { return g.module == module && g.name == name; });
    if (known == globals.end()) {
      fail(fmt::format("the global {}.{} is not one that a checkpoint of weights uses",
                       printable(module, 80), printable(name, 80)));
    }
    push(PickleGlobal{static_cast<std::size_t>(known - globals.begin())});
  }

  // An OrderedDict's attributes: state dicts have the versions of their modules in _metadata.
  void build() {
    require<PickleDict>("BUILD", pop(), "a dict of attributes");
    require<PickleDict>("BUILD", top(), "an OrderedDict");
  }

  void reduce() {
    const PickleValue arguments = pop();
    const PickleValue callee = pop();
    const auto elements = span_of(require<PickleTuple>("REDUCE", arguments, "a tuple"));
    const auto index = require<PickleGlobal>("REDUCE", callee, "a class or function").index;
    const GlobalEntry& global = globals[index];
    switch (global.kind) {
      case GlobalKind::ordered_dict:
        require_arguments(global, elements, 0, 0);
        make_dict();
        return;
      case GlobalKind::rebuild_tensor:
        require_arguments(global, elements, 6, 7);
        push(make_tensor(global.name, elements));
        return;
      case GlobalKind::rebuild_parameter:
        require_arguments(global, elements, 3, 3);
        push(require<const PickledTensor*>(global.name, elements[0], "a tensor"));
        return;
      case GlobalKind::rebuild_parameter_with_state:
        require_arguments(global, elements, 4, 4);
        push(require<const PickledTensor*>(global.name, elements[0], "a tensor"));
        return;
      case GlobalKind::storage:
        break;
    }
    fail(fmt::format("{}.{} is called, which no checkpoint of weights does", global.module,
                     global.name));
  }

  void require_arguments(const GlobalEntry& global, std::span<const PickleValue> arguments,
                         std::size_t least, std::size_t most) const {
    if (arguments.size() >= least && arguments.size() <= most) return;
    const std::string expected =
        least == most ? std::to_string(least) : fmt::format("{} to {}", least, most);
    fail(fmt::format("{}.{} with {} arguments found, {} expected", global.module, global.name,
                     arguments.size(), expected));
  }

  // (storage, offset, shape, strides, requires_grad, backward_hooks[, metadata])
  const PickledTensor* make_tensor(std::string_view what, std::span<const PickleValue> arguments) {
    PickledTensor tensor;
    tensor.storage = *require<const PickledStorage*>(what, arguments[0], "a storage");
    tensor.offset = require_size(what, arguments[1]);
    const auto shape = span_of(require<PickleTuple>(what, arguments[2], "a tuple as the shape"));
    const auto strides = span_of(require<PickleTuple>(what, arguments[3], "a tuple of strides"));
    if (shape.size() > PickledTensor::most_dimensions) {
      fail(fmt::format("a tensor of {} dimensions found, at most {} expected", shape.size(),
                       PickledTensor::most_dimensions));
    }
    if (strides.size() != shape.size()) {
      fail(fmt::format("a tensor of {} dimensions with {} strides found", shape.size(),
                       strides.size()));
    }
    for (const PickleValue& extent : shape) tensor.shape.push_back(require_size(what, extent));
    for (const PickleValue& stride : strides) tensor.strides.push_back(require_size(what, stride));
    // It says that the elements stand for others: their negatives or conjugates.
    if (arguments.size() == 7 && !std::holds_alternative<PickleNone>(arguments[6])) {
      const auto metadata = require<PickleDict>(what, arguments[6], "a dict of metadata");
      if (!objects_.dicts[metadata.index].empty()) {
        fail("a tensor with metadata found, which is not supported");
      }
    }
    return &objects_.tensors.emplace_back(std::move(tensor));
  }

  // ("storage", class, key, device, elements)
  void make_storage() {
    constexpr std::string_view what = "BINPERSID";
    const PickleValue id = pop();
    const auto parts = span_of(require<PickleTuple>(what, id, "a tuple"));
    const std::string_view* const tag =
        parts.size() == 5 ? std::get_if<std::string_view>(parts.data()) : nullptr;
    if (tag == nullptr || *tag != "storage") {
      fail("a persistent id of 5 parts that begins with 'storage' expected");
    }
    const auto index = require<PickleGlobal>(what, parts[1], "a class of storages").index;
    if (globals[index].kind != GlobalKind::storage) fail("a class of storages expected");
    const PickledStorage storage{
        .type = globals[index].type,
        .key = require<std::string_view>(what, parts[2], "a text as the key"),
        .elements = require_size(what, parts[4])};
    (void)require<std::string_view>(what, parts[3], "a text as the device");
    push(&std::as_const(objects_.storages.emplace_back(storage)));
  }

  std::uint64_t require_size(std::string_view what, const PickleValue& value) const {
    const auto number = require<std::int64_t>(what, value, "an integer");
    if (number < 0) fail(fmt::format("{}: {} found, at least 0 expected", what, number));
    return static_cast<std::uint64_t>(number);
  }

  template <class T>
  T require(std::string_view what, const PickleValue& value, std::string_view expected) const {
    const T* const found = std::get_if<T>(&value);
    if (found == nullptr) {
      fail(fmt::format("{}: {} found, {} expected", what, describe(value), expected));
    }
    return *found;
  }

  // Valid until the next tuple is made.
  [[nodiscard]] std::span<const PickleValue> span_of(PickleTuple tuple) const {
    return std::span(objects_.elements).subspan(tuple.begin, tuple.size);
  }

  std::string_view file_;
  std::string_view record_;
  std::span<const std::byte> bytes_;
  std::size_t next_ = 0;
  std::size_t begin_ = 0;  // of the opcode that is carried out
  Objects& objects_;
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;  // the stack's sizes when they were set
  std::vector<PickleValue> memo_;
  std::size_t values_ = 0;  // that were pushed, remembered or marked
};

Pickle::Pickle(std::unique_ptr<Objects> objects) : objects_(std::move(objects)) {}
Pickle::Pickle(Pickle&&) noexcept = default;
Pickle& Pickle::operator=(Pickle&&) noexcept = default;
Pickle::~Pickle() = default;

Pickle Pickle::load(std::string_view file, std::string_view record,
                    std::span<const std::byte> bytes) {
  auto objects = std::make_unique<Objects>();
  Machine(file, record, bytes, *objects).run();
  return Pickle(std::move(objects));
}

const PickleValue& Pickle::root() const { return objects_->root; }

std::span<const PickleItem> Pickle::items(PickleDict dict) const {
  return objects_->dicts.at(dict.index);
}

std::span<const PickleValue> Pickle::elements(PickleTuple tuple) const {
  return std::span(objects_->elements).subspan(tuple.begin, tuple.size);
}

}  // namespace fathom
