#include "formats/pickle.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/pickle_test_writer.h"

namespace fathom {
namespace {

using namespace pickled;  // NOLINT
using namespace std::string_literals;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Pickle load(std::string_view file) { return Pickle::load("w.bin", "data.pkl", bytes_of(file)); }

/// Of a pickle with these opcodes.
std::string error(const std::string& opcodes) {
  std::string message = error_of<FileError>([&] { return load(pickle(opcodes)); });
  EXPECT_THAT(message, StartsWith("w.bin: data.pkl, byte "));
  return message;
}

/// Reads all that can be reached without following dicts in dicts.
std::size_t read_all(const Pickle& pickle) {
  std::size_t sum = describe(pickle.root()).size();
  if (const auto* const dict = std::get_if<PickleDict>(&pickle.root())) {
    for (const PickleItem& item : pickle.items(*dict)) {
      if (const auto* const key = std::get_if<std::string_view>(&item.key)) {
        for (const char c : *key) sum += static_cast<unsigned char>(c);
      }
      if (const auto* const tensor = std::get_if<const PickledTensor*>(&item.value)) {
        EXPECT_EQ((*tensor)->shape.size(), (*tensor)->strides.size());
        for (const char c : (*tensor)->storage.key) sum += static_cast<unsigned char>(c);
      }
    }
  }
  return sum;
}

std::string small_state_dict() {
  const std::string layout = tensor(storage("FloatStorage", "0", 6), {0, {2, 3}, {3, 1}});
  return pickle(dict(text("a") + "q\x00"s + layout + "q\x01" + text("b") + "h\x01"));
}

TEST(PickleTest, ReadsPlainValues) {
  EXPECT_TRUE(std::holds_alternative<PickleNone>(load(pickle("N")).root()));
  EXPECT_EQ(std::get<bool>(load(pickle("\x88")).root()), true);
  EXPECT_EQ(std::get<bool>(load(pickle("\x89")).root()), false);
  const auto integer_of = [](const std::string& opcodes) {
    return std::get<std::int64_t>(load(pickle(opcodes)).root());
  };
  EXPECT_EQ(integer_of("J\xff\xff\xff\xff"), -1);
  EXPECT_EQ(integer_of("J\xff\xff\xff\x7f"), 0x7fffffff);
  EXPECT_EQ(integer_of("K\xff"), 255);
  EXPECT_EQ(integer_of("M\xff\xff"), 65535);
  EXPECT_EQ(integer_of("\x8a\x00"s), 0);
  EXPECT_EQ(integer_of("\x8a\x01\x80"), -128);
  EXPECT_EQ(integer_of("\x8a\x02\x80\x00"s), 128);
  EXPECT_EQ(integer_of("\x8a\x05\x00\x00\x00\x00\x01"s), std::int64_t{1} << 32U);
  EXPECT_EQ(integer_of(integer(-5)), -5);
  EXPECT_EQ(std::get<double>(load(pickle("G\x3f\xf8\x00\x00\x00\x00\x00\x00"s)).root()), 1.5);
  const std::string words = pickle(text("words"));
  EXPECT_EQ(std::get<std::string_view>(load(words).root()), "words");
  const std::string few = pickle("\x8c\x02no");
  EXPECT_EQ(std::get<std::string_view>(load(few).root()), "no");
  EXPECT_TRUE(std::holds_alternative<PickleList>(load(pickle("](NNe")).root()));
  EXPECT_TRUE(std::holds_alternative<PickleList>(load(pickle("]Na")).root()));
}

TEST(PickleTest, ReadsTuplesAndDicts) {
  for (const auto& [opcodes, size] :
       std::vector<std::pair<std::string, std::size_t>>{{")", 0},
                                                        {"(t", 0},
                                                        {"K\1\x85", 1},
                                                        {"K\1K\2\x86", 2},
                                                        {"K\1K\2K\3\x87", 3},
                                                        {"(K\1K\2K\3K\4t", 4}}) {
    const Pickle result = load(pickle(opcodes));
    const auto elements = result.elements(std::get<PickleTuple>(result.root()));
    ASSERT_EQ(elements.size(), size);
    for (std::size_t i = 0; i < size; ++i) {
      EXPECT_EQ(std::get<std::int64_t>(elements[i]), static_cast<std::int64_t>(i + 1));
    }
  }
  for (const std::string& empty : {"}"s, ordered_dict()}) {
    const std::string file = pickle(empty + text("a") + "K\1s(" + text("b") + "K\2K\7K\3u");
    const Pickle result = load(file);
    const auto items = result.items(std::get<PickleDict>(result.root()));
    ASSERT_EQ(items.size(), 3U);
    EXPECT_EQ(std::get<std::string_view>(items[0].key), "a");
    EXPECT_EQ(std::get<std::int64_t>(items[1].value), 2);
    EXPECT_EQ(std::get<std::int64_t>(items[2].key), 7);
  }
  // The attributes of an OrderedDict are passed over.
  const Pickle result = load(pickle(ordered_dict() + dict(text("_metadata") + "N") + "b"));
  EXPECT_THAT(result.items(std::get<PickleDict>(result.root())), IsEmpty());
}

TEST(PickleTest, ReadsTensors) {
  const std::string file = small_state_dict();
  const Pickle result = load(file);
  const auto items = result.items(std::get<PickleDict>(result.root()));
  ASSERT_EQ(items.size(), 2U);
  const auto* const tensor = std::get<const PickledTensor*>(items[0].value);
  EXPECT_EQ(tensor->storage.type, StorageType::F32);
  EXPECT_EQ(tensor->storage.key, "0");
  EXPECT_EQ(tensor->storage.elements, 6U);
  EXPECT_EQ(tensor->offset, 0U);
  EXPECT_THAT(tensor->shape, ElementsAre(2, 3));
  EXPECT_THAT(tensor->strides, ElementsAre(3, 1));
  EXPECT_EQ(std::get<const PickledTensor*>(items[1].value), tensor);
}

TEST(PickleTest, ReadsEveryTypeOfStorage) {
  const std::vector<std::pair<std::string, std::string>> types{
      {"DoubleStorage", "float64"},    {"FloatStorage", "float32"}, {"HalfStorage", "float16"},
      {"BFloat16Storage", "bfloat16"}, {"LongStorage", "int64"},    {"IntStorage", "int32"},
      {"ShortStorage", "int16"},       {"CharStorage", "int8"},     {"ByteStorage", "uint8"},
      {"BoolStorage", "bool"}};
  for (const auto& [storage_name, type_name] : types) {
    const std::string file = pickle(storage(storage_name, "7", 3));
    const Pickle result = load(file);
    const auto* const read = std::get<const PickledStorage*>(result.root());
    EXPECT_EQ(info(read->type).name, type_name);
    EXPECT_EQ(read->key, "7");
  }
}

TEST(PickleTest, ParametersAreTheirTensors) {
  const std::string inner = tensor(storage("HalfStorage", "1", 2), {1, {1}, {1}});
  for (const std::string& file :
       {pickle(global("torch._utils", "_rebuild_parameter") + "(" + inner + "\x88" +
               ordered_dict() + "tR"),
        pickle(global("torch._utils", "_rebuild_parameter_with_state") + "(" + inner + "\x88" +
               ordered_dict() + dict(text("note") + "N") + "tR")}) {
    const Pickle result = load(file);
    EXPECT_EQ(std::get<const PickledTensor*>(result.root())->offset, 1U);
  }
}

TEST(PickleTest, RefusesEveryOtherGlobalByNameAndPlace) {
  EXPECT_THAT(error(global("os", "system") + "(" + text("id") + "tR"),
              HasSubstr("data.pkl, byte 2: the global os.system is not one that a checkpoint of "
                        "weights uses"));
  EXPECT_THAT(error("N"s + global("posix", "system")),
              HasSubstr("byte 3: the global posix.system"));
  for (const auto& [module, name] : std::vector<std::pair<std::string, std::string>>{
           {"builtins", "eval"},
           {"builtins", "exec"},
           {"builtins", "getattr"},
           {"builtins", "__import__"},
           {"__builtin__", "eval"},
           {"subprocess", "Popen"},
           {"runpy", "run_module"},
           {"torch", "load"},
           {"torch.storage", "_load_from_bytes"},
           {"torch.hub", "load"},
           {"torch._utils", "_rebuild_tensor"},
           {"torch._utils", "_rebuild_tensor_v3"},
           {"torch", "ComplexFloatStorage"},
           {"torch.storage", "UntypedStorage"},
           {"numpy.core.multiarray", "_reconstruct"},
           {"collections", "OrderedDict.fromkeys"},
           {"collections.OrderedDict", ""},
           {"", "OrderedDict"},
           {"torch._utils._rebuild_tensor_v2", "__globals__"},
           {"torch ", "FloatStorage"},
           {"TORCH", "FloatStorage"}}) {
    EXPECT_THAT(error(global(module, name)),
                HasSubstr("the global "s + module + "." + name + " is not one"));
    EXPECT_THAT(error(text(module) + text(name) + "\x93"),
                HasSubstr("the global "s + module + "." + name + " is not one"));
  }
  EXPECT_THAT(error(global("o\x1b[2J", std::string(500, 'x'))),
              AllOf(HasSubstr("the global o\\x1b[2J.xxx"), HasSubstr("xxx... is not one")));
  EXPECT_THAT(error("cos"), HasSubstr("a line without an end found"));
  EXPECT_THAT(error("NN\x93"), HasSubstr("STACK_GLOBAL: None found, a text expected"));
}

TEST(PickleTest, ReadsGlobalsByText) {
  const std::string file = pickle(text("collections") + text("OrderedDict") + "\x93)R");
  EXPECT_TRUE(std::holds_alternative<PickleDict>(load(file).root()));
}

TEST(PickleTest, RefusesEveryOtherOpcodeByName) {
  const std::string used = "(.NJKMGX)t]ae}scRbQuqrhj\x88\x89\x8a\x8c\x85\x86\x87\x93\x94\x95";
  std::size_t refused = 0;
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    if (used.find(static_cast<char>(opcode)) != std::string::npos) continue;
    ++refused;
    EXPECT_THAT(error("N"s + std::string(1, static_cast<char>(opcode)) + std::string(100, '0')),
                AllOf(HasSubstr("data.pkl, byte 3: opcode "),
                      HasSubstr(" is not one that a checkpoint of weights uses")))
        << opcode;
  }
  EXPECT_EQ(refused, 256 - used.size());
  EXPECT_THAT(error("ios\nsystem\n"), HasSubstr("opcode INST is not one"));
  EXPECT_THAT(error("(cos\nsystem\no"), HasSubstr("the global os.system"));
  EXPECT_THAT(error("()o"), HasSubstr("opcode OBJ is not one"));
  EXPECT_THAT(error("\x82\x01"), HasSubstr("opcode EXT1 is not one"));
  EXPECT_THAT(error("N)\x81"), HasSubstr("opcode NEWOBJ is not one"));
  EXPECT_THAT(error("Pid\n"), HasSubstr("opcode PERSID is not one"));
  EXPECT_THAT(error("\x80\x02"), HasSubstr("opcode PROTO is not one"));
  EXPECT_THAT(error("\x7f"), HasSubstr("opcode 0x7f is not one"));
}

TEST(PickleTest, CallsNothingButWhatItKnows) {
  EXPECT_THAT(error(global("torch", "FloatStorage") + "K\1\x85R"),
              HasSubstr("torch.FloatStorage is called, which no checkpoint of weights does"));
  EXPECT_THAT(error(global("collections", "OrderedDict") + "]\x85R"),
              HasSubstr("collections.OrderedDict with 1 arguments found, 0 expected"));
  EXPECT_THAT(error("N)R"), HasSubstr("REDUCE: None found, a class or function expected"));
  EXPECT_THAT(error(text("os.system") + ")R"), HasSubstr("REDUCE: a text found"));
  EXPECT_THAT(error(global("collections", "OrderedDict") + "NR"),
              HasSubstr("REDUCE: None found, a tuple expected"));
  EXPECT_THAT(error(ordered_dict() + ")R"), HasSubstr("REDUCE: a dict found"));
  EXPECT_THAT(error(global("torch", "FloatStorage") + "}b"), HasSubstr("BUILD: a class or function "
                                                                       "found, an OrderedDict"));
  EXPECT_THAT(error(ordered_dict() + "Nb"), HasSubstr("BUILD: None found, a dict of attributes"));
  EXPECT_THAT(error("]}b"), HasSubstr("BUILD: a list found"));
}

TEST(PickleTest, HoldsTensorsToTheirArguments) {
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2");
  const std::string sound = storage("FloatStorage", "0", 6);
  const std::string hooks = "\x89"s + ordered_dict();
  EXPECT_THAT(error(rebuild + ")R"),
              HasSubstr("_rebuild_tensor_v2 with 0 arguments found, 6 to 7"));
  EXPECT_THAT(error(rebuild + "(NNNNNNNNtR"), HasSubstr("with 8 arguments found"));
  EXPECT_THAT(error(rebuild + "(NK\0)"s + ")" + hooks + "tR"),
              HasSubstr("_rebuild_tensor_v2: None found, a storage expected"));
  EXPECT_THAT(error(rebuild + "(" + sound + "N))" + hooks + "tR"),
              HasSubstr("None found, an integer expected"));
  EXPECT_THAT(error(rebuild + "(" + sound + "\x89))" + hooks + "tR"),
              HasSubstr("a bool found, an integer expected"));
  EXPECT_THAT(error(tensor(sound, {-1, {2}, {1}})), HasSubstr("-1 found, at least 0 expected"));
  EXPECT_THAT(error(tensor(sound, {0, {-2}, {1}})), HasSubstr("-2 found, at least 0 expected"));
  EXPECT_THAT(error(tensor(sound, {0, {2}, {-1}})), HasSubstr("-1 found, at least 0 expected"));
  EXPECT_THAT(error(tensor(sound, {0, {2}, {1, 1}})),
              HasSubstr("a tensor of 1 dimensions with 2 strides found"));
  EXPECT_THAT(error(tensor(sound, {0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}})),
              HasSubstr("a tensor of 9 dimensions found, at most 8 expected"));
  EXPECT_THAT(error(rebuild + "(" + sound + "K\0]"s + ")" + hooks + "tR"),
              HasSubstr("a list found, a tuple as the shape expected"));
  const std::string six = rebuild + "(" + sound + "K\0K\1\x85K\1\x85"s + hooks;
  EXPECT_EQ(error_of<FileError>([&] { return load(pickle(six + "NtR")); }), "no error");
  EXPECT_EQ(error_of<FileError>([&] { return load(pickle(six + "}tR")); }), "no error");
  EXPECT_THAT(error(six + dict(text("neg") + "\x88") + "tR"),
              HasSubstr("a tensor with metadata found, which is not supported"));
}

TEST(PickleTest, HoldsPersistentIdsToTheirParts) {
  const std::string type = global("torch", "FloatStorage");
  const std::string expected = "a persistent id of 5 parts that begins with 'storage' expected";
  EXPECT_THAT(error("NQ"), HasSubstr("BINPERSID: None found, a tuple expected"));
  EXPECT_THAT(error(")Q"), HasSubstr(expected));
  EXPECT_THAT(error("("s + text("module") + type + text("0") + text("cpu") + "K\1tQ"),
              HasSubstr(expected));
  EXPECT_THAT(error("("s + text("storage") + type + text("0") + text("cpu") + "K\1NtQ"),
              HasSubstr(expected));
  EXPECT_THAT(error("("s + text("storage") + "N" + text("0") + text("cpu") + "K\1tQ"),
              HasSubstr("None found, a class of storages expected"));
  EXPECT_THAT(error("("s + text("storage") + global("collections", "OrderedDict") + text("0") +
                    text("cpu") + "K\1tQ"),
              HasSubstr("a class of storages expected"));
  EXPECT_THAT(error("("s + text("storage") + type + "K\0"s + text("cpu") + "K\1tQ"),
              HasSubstr("an integer found, a text as the key expected"));
  EXPECT_THAT(error("("s + text("storage") + type + text("0") + "NK\1tQ"),
              HasSubstr("None found, a text as the device expected"));
  EXPECT_THAT(error("("s + text("storage") + type + text("0") + text("cpu") + integer(-1) + "tQ"),
              HasSubstr("-1 found, at least 0 expected"));
}

TEST(PickleTest, TheStackIsHeldToItsMarks) {
  for (const std::string opcodes : {"", "a", "s", "b", "R", "Q", "\x85", "N\x86", "NN\x87", "\x94",
                                    "\x93", "N(\x85", "N(b", "N(R", "}(Ns", "}N(Ns"}) {
    EXPECT_THAT(error(opcodes), HasSubstr("too few values")) << opcodes;
  }
  for (const std::string opcodes : {"t", "e", "u", "NNu"}) {
    EXPECT_THAT(error(opcodes), HasSubstr("the stack holds no mark")) << opcodes;
  }
  EXPECT_THAT(error("(u"), HasSubstr("too few values"));
  EXPECT_THAT(error("(e"), HasSubstr("too few values"));
  EXPECT_THAT(error("}(Nu"), HasSubstr("a key without a value found"));
  EXPECT_THAT(error("](NNu"), HasSubstr("SETITEMS: a list found, a dict expected"));
  EXPECT_THAT(error("}(NNe"), HasSubstr("APPENDS: a dict found, a list expected"));
  EXPECT_THAT(error("}Na"), HasSubstr("APPEND: a dict found, a list expected"));
  EXPECT_THAT(error("NN"), HasSubstr("more than one value is left at the end"));
  EXPECT_THAT(error("(N"), HasSubstr("more than one value is left at the end"));
}

TEST(PickleTest, TheMemoHasNoGaps) {
  EXPECT_THAT(error("Nq\x01"), HasSubstr("memo 1 is set, but 0 is the next"));
  EXPECT_THAT(error("Nr\xff\xff\xff\xff"), HasSubstr("memo 4294967295 is set, but 0 is the next"));
  EXPECT_THAT(error("h\x00"s), HasSubstr("memo 0 is asked for, 0 are set"));
  EXPECT_THAT(error("Nq\x00j\xff\xff\xff\xff"s), HasSubstr("memo 4294967295 is asked for, 1 are"));
  const Pickle result = load(pickle("K\7q\x00K\x08q\x00h\x00\x87"s));
  const auto elements = result.elements(std::get<PickleTuple>(result.root()));
  EXPECT_EQ(std::get<std::int64_t>(elements[2]), 8);  // set anew
}

TEST(PickleTest, EndsWhereItSays) {
  EXPECT_THAT(error_of<FileError>([] { return load(""); }),
              HasSubstr("byte 0: a pickle of protocol 2 to 5 expected"));
  EXPECT_THAT(error_of<FileError>([] { return load("(dp0\n."); }), HasSubstr("protocol 2 to 5"));
  EXPECT_THAT(error_of<FileError>([] { return load("\x80\x01N."); }),
              HasSubstr("a pickle of protocol 1 found, 2 to 5 expected"));
  EXPECT_THAT(error_of<FileError>([] { return load("\x80\x06N."); }),
              HasSubstr("protocol 6 found"));
  EXPECT_THAT(error_of<FileError>([] { return load("\x80\x02N"); }),
              HasSubstr("byte 3: the pickle ends without STOP"));
  EXPECT_THAT(error("N.N"), HasSubstr("byte 3: 2 bytes found behind the end of the pickle"));
  EXPECT_THAT(error("X\xff\xff\xff\xff"),
              HasSubstr("the pickle ends: 1 bytes are left, 4294967295 expected"));
  EXPECT_THAT(error("\x8a\x09"), HasSubstr("an integer of 9 bytes found, at most 8 expected"));
  EXPECT_THAT(error("\x8a\xff"), HasSubstr("an integer of 255 bytes found"));
  EXPECT_THAT(error("\x95\xff\xff\xff\xff\xff\xff\xff\xffN"),
              HasSubstr("a frame of 18446744073709551615 bytes found, 2 bytes are left"));
}

TEST(PickleTest, NestingCostsNoStack) {
  std::string deep = "N";
  deep.append(900'000, '\x85');
  const Pickle tuples = load(pickle(deep));
  EXPECT_EQ(tuples.elements(std::get<PickleTuple>(tuples.root())).size(), 1U);
  std::string dicts = "}";
  for (int i = 0; i < 300'000; ++i) dicts += "N}";
  for (int i = 0; i < 300'000; ++i) dicts += "s";
  const Pickle nested = load(pickle(dicts));
  EXPECT_EQ(nested.items(std::get<PickleDict>(nested.root())).size(), 1U);
}

TEST(PickleTest, ValuesMayHoldThemselves) {
  const Pickle result = load(pickle("}q\x00(Nh\x00N]q\x01h\x01\x61u"s));
  const auto dict = std::get<PickleDict>(result.root());
  const auto items = result.items(dict);
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(std::get<PickleDict>(items[0].value).index, dict.index);
}

TEST(PickleTest, SharedValuesAreNotCopied) {
  // Each tuple holds the one before it twice: written out they would be 2^60 values.
  std::string bomb = "N";
  for (char i = 0; i < 60; ++i) bomb += std::string("q") + i + "h" + i + "\x86";
  const Pickle tuples = load(pickle(bomb));
  EXPECT_EQ(tuples.elements(std::get<PickleTuple>(tuples.root())).size(), 2U);
  // The same with calls: a tensor's storage, shape and hooks are all the same few values.
  std::string reductions = tensor(storage("FloatStorage", "0", 6), {0, {2, 3}, {3, 1}}) + "q\x00"s;
  for (char i = 1; i < 100; ++i) {
    reductions = global("torch._utils", "_rebuild_parameter") + "(" + reductions + "\x88" +
                 ordered_dict() + "tRq" + i;
  }
  const std::string file = pickle(reductions);
  EXPECT_EQ(std::get<const PickledTensor*>(load(file).root())->offset, 0U);
}

TEST(PickleTest, ValuesAreCounted) {
  for (const std::string unit : {"N", "}", ")", "]", "(", "N\x85", "K\x01"}) {
    std::string many;
    while (many.size() < 5'000'000) many += unit;
    EXPECT_THAT(error(many), HasSubstr("more than 2000000 values")) << unit;
  }
  EXPECT_THAT(error("N"s + std::string(3'000'000, '\x94')), HasSubstr("more than 2000000 values"));
  std::string recalled = "Nq\x00"s;
  while (recalled.size() < 5'000'000) recalled += "h\x00"s;
  EXPECT_THAT(error(recalled), HasSubstr("more than 2000000 values"));
  EXPECT_THAT(error(std::string(std::size_t{64} << 20U, 'N')),
              HasSubstr("byte 0: a pickle of 67108867 bytes found, at most 67108864 expected"));
}

TEST(PickleTest, EveryTruncationIsRefused) {
  const std::string file = small_state_dict();
  for (std::size_t size = 0; size < file.size(); ++size) {
    // In memory of its own, so that a sanitizer sees what is read behind it.
    const std::vector<std::byte> cut(bytes_of(file).begin(),
                                     bytes_of(file).begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_NE(error_of<FileError>([&] { return Pickle::load("w.bin", "data.pkl", cut); }),
              "no error")
        << size;
  }
}

TEST(PickleTest, EveryChangedByteIsReadOrRefused) {
  const std::string file = small_state_dict();
  std::size_t refused = 0;
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(byte);
      try {
        EXPECT_GT(read_all(load(damaged)), 0U);
      } catch (const FileError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100 * file.size());
}

}  // namespace
}  // namespace fathom
