#include "formats/torch_checkpoint.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/pickle_test_writer.h"
#include "formats/test_folder.h"
#include "formats/zip_test_writer.h"

namespace fathom {
namespace {

using namespace pickled;  // NOLINT
using namespace std::string_literals;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::filesystem::path golden() {
  return std::filesystem::path(FATHOM_SOURCE_DIR) / "golden" / "torch_checkpoint";
}

std::string read_golden(const std::string& name) {
  std::ifstream in(golden() / name, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string hexadecimal(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
  return text;
}

TensorSource parse(std::string_view file) {
  return parse_torch_checkpoint("w.bin", bytes_of(file));
}

std::string error(std::string_view file) {
  std::string message = error_of<FileError>([&] { return parse(file); });
  EXPECT_THAT(message, StartsWith("w.bin: "));
  return message;
}

/// The archive that torch.save makes of a pickle and 24 bytes of storage '0'.
ZipTestWriter archive_of(const std::string& pickle) {
  return {.entries = {{.name = "w/data.pkl", .data = pickle},
                      {.name = "w/byteorder", .data = "little"},
                      {.name = "w/data/0", .data = std::string(24, '\x01')},
                      {.name = "w/version", .data = "3\n"}}};
}

std::string file_of(const std::string& opcodes) { return archive_of(pickle(opcodes)).bytes(); }

/// Of a state dict whose one tensor "x" is a view of a storage of 6 float32.
std::string tensor_file(const TensorLayout& layout) {
  return file_of(dict(text("x") + tensor(storage("FloatStorage", "0", 6), layout)));
}

std::string sound_file() { return tensor_file({0, {2, 3}, {3, 1}}); }

/// Reads all that a source gives, so that a sanitizer sees a view that leaves the file.
std::uint64_t read_all(const TensorSource& source) {
  std::uint64_t sum = source.tensors().size() + source.refused().size();
  for (const auto& [name, tensor] : source.tensors()) {
    EXPECT_EQ(tensor.bytes.size(), tensor_bytes(tensor.type, tensor.shape));
    for (const std::byte b : tensor.bytes) sum += std::to_integer<std::uint64_t>(b);
  }
  return sum;
}

TEST(TorchCheckpointTest, ReadsWhatTorchSaves) {
  const nlohmann::json expected = nlohmann::json::parse(read_golden("expected.json"));
  std::size_t compared = 0;
  for (const auto& [name, tensors] : expected.at("checkpoints").items()) {
    SCOPED_TRACE(name);
    const TensorSource source = open_torch_checkpoint(golden() / (name + ".bin"));
    EXPECT_EQ(source.tensors().size() + source.refused().size(), tensors.size());
    for (const auto& [tensor_name, value] : tensors.items()) {
      SCOPED_TRACE(tensor_name);
      if (value.is_null()) {
        EXPECT_THROW((void)source.find(tensor_name), FileError);
        continue;
      }
      const TensorView* const tensor = source.find(tensor_name);
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(info(tensor->type).name, value[0].get<std::string>());
      EXPECT_EQ(tensor->shape, value[1].get<std::vector<std::size_t>>());
      EXPECT_EQ(hexadecimal(tensor->bytes), value[2].get<std::string>());
      ++compared;
    }
  }
  EXPECT_GE(compared, 25U);
}

TEST(TorchCheckpointTest, TensorsAreViewsAndTiedOnesShareThem) {
  const std::string file = read_golden("types.bin");
  const TensorSource source = parse(file);
  for (const auto& [name, tensor] : source.tensors()) {
    if (tensor.bytes.empty()) continue;
    EXPECT_GE(reinterpret_cast<const char*>(tensor.bytes.data()), file.data());
    EXPECT_LE(reinterpret_cast<const char*>(tensor.bytes.data() + tensor.bytes.size()),
              file.data() + file.size());
  }
  EXPECT_EQ(source.find("tied.a")->bytes.data(), source.find("tied.b")->bytes.data());
  EXPECT_EQ(source.find("rows")->bytes.data(), source.find("tied.a")->bytes.data() + 32);
}

TEST(TorchCheckpointTest, KeepsTheFileMapped) {
  const auto open = [] { return open_torch_checkpoint(golden() / "protocol_4.bin"); };
  const TensorSource copy = TensorSource(open());
  EXPECT_EQ(copy.find("a")->bytes.size(), 16U);
  EXPECT_GT(read_all(copy), 0U);
}

TEST(TorchCheckpointTest, NamesWhatCannotBeReadWhenAskedForIt) {
  const TensorSource source = parse(read_golden("types.bin"));
  for (const auto& [name, type] :
       std::vector<std::pair<std::string, std::string>>{{"f64", "float64"},
                                                        {"i64", "int64"},
                                                        {"i32", "int32"},
                                                        {"i16", "int16"},
                                                        {"i8", "int8"},
                                                        {"u8", "uint8"},
                                                        {"bool", "bool"}}) {
    EXPECT_EQ(error_of<FileError>([&, key = name] { return source.find(key); }),
              "w.bin: tensor '"s + name + "': type " + type +
                  " found, which is not supported (float32, float16 and bfloat16 are)");
  }
  EXPECT_EQ(error_of<FileError>([&] { return source.find("transposed"); }),
            "w.bin: tensor 'transposed': its elements do not lie one behind the other (shape [4, "
            "6], strides [1, 4]); save it after .contiguous()");
  EXPECT_THAT(error_of<FileError>([&] { return source.find("columns"); }),
              HasSubstr("shape [6, 2], strides [4, 1]"));
  EXPECT_THAT(error_of<FileError>([&] { return source.find("repeated"); }),
              HasSubstr("shape [4], strides [0]"));
}

TEST(TorchCheckpointTest, RunsNoCode) {
  const std::string file = read_golden("runs_code.bin");
  ASSERT_THAT(file, HasSubstr("touch fathom_ran_code"));
  EXPECT_THAT(error(file), HasSubstr("system is not one that a checkpoint of weights uses"));
  EXPECT_FALSE(std::filesystem::exists("fathom_ran_code"));
  EXPECT_THAT(error(read_golden("whole_module.bin")),
              AllOf(HasSubstr("w.bin: data.pkl, byte "), HasSubstr("the global torch.nn.modules."),
                    HasSubstr(" is not one")));
}

TEST(TorchCheckpointTest, NamesOtherFilesOfPyTorch) {
  EXPECT_THAT(error(read_golden("legacy.bin")),
              AllOf(HasSubstr("a PyTorch checkpoint in the format from before PyTorch 1.6 found"),
                    HasSubstr("torch.save(torch.load(FILE, weights_only=True), NEW_FILE)")));
  EXPECT_THAT(error(read_golden("torchscript.bin")),
              AllOf(HasSubstr("a TorchScript archive found"), HasSubstr("to convert it")));
  EXPECT_THAT(error(read_golden("ambiguous.bin")),
              HasSubstr("tensors found under 'state_dict' and under 'model': which are the model's "
                        "is not clear"));
}

TEST(TorchCheckpointTest, RefusesFilesOfAnotherKind) {
  EXPECT_THAT(error(""), HasSubstr("an empty file found, a PyTorch checkpoint expected"));
  EXPECT_THAT(error("GGUF\x03"), HasSubstr("a GGUF file found, a PyTorch checkpoint expected"));
  EXPECT_THAT(error("\x80\x02}."), HasSubstr("a Python pickle found"));
  EXPECT_THAT(error("version https://git-lfs.github.com/spec/v1"), HasSubstr("Git LFS pointer"));
  EXPECT_THAT(error(ZipTestWriter{.entries = {{.name = "a.txt", .data = "text"}}}.bytes()),
              HasSubstr("a zip archive without data.pkl found"));
  EXPECT_THAT(error(ZipTestWriter{.entries = {{.name = "data.pkl", .data = pickle("}")}}}.bytes()),
              HasSubstr("a zip archive without data.pkl found"));
  EXPECT_THAT(
      error(ZipTestWriter{.entries = {{.name = "a/data.pkl"}, {.name = "b/data.pkl"}}}.bytes()),
      HasSubstr("a zip archive with data.pkl in the folders 'a' and 'b' found"));
}

TEST(TorchCheckpointTest, HoldsTheRecordsToWhatTheyAre) {
  const std::string sound = pickle(dict(""));
  const auto with = [&](std::string_view name, const std::string& data) {
    ZipTestWriter writer = archive_of(sound);
    for (ZipTestEntry& entry : writer.entries) {
      if (entry.name == name) entry.data = data;
    }
    return writer.bytes();
  };
  EXPECT_THAT(error(with("w/byteorder", "big")),
              HasSubstr("w.bin: byteorder: 'big' found, 'little' expected"));
  EXPECT_THAT(error(with("w/byteorder", "")), HasSubstr("'' found"));
  for (const std::string version : {"0", "11", "", "3x", "-1", "99999999999999999999"}) {
    EXPECT_THAT(error(with("w/version", version)),
                HasSubstr("w.bin: version: '"s + version + "' found, 1 to 10 expected"));
  }
  EXPECT_THAT(error(with("w/version", std::string(101, '3'))),
              HasSubstr("w.bin: version: 101 bytes found, at most 100 expected"));
  ZipTestWriter large = archive_of(sound);
  large.entries[0].data = std::string((std::size_t{64} << 20U) + 1, 'N');
  large.entries[0].crc32 = 1;
  EXPECT_THAT(error(large.bytes()),
              HasSubstr("data.pkl: 67108865 bytes found, at most 67108864 expected"));
  ZipTestWriter missing = archive_of(sound);
  missing.entries.pop_back();
  EXPECT_THAT(error(missing.bytes()), HasSubstr("w.bin: version: missing"));
  ZipTestWriter damaged = archive_of(sound);
  damaged.entries[0].crc32 = 1;
  EXPECT_THAT(error(damaged.bytes()), HasSubstr("zip entry 'w/data.pkl': CRC-32"));
  ZipTestWriter compressed =
      archive_of(pickle(dict(text("x") + tensor(storage("FloatStorage", "0", 6), {0, {1}, {1}}))));
  compressed.entries[2].method = 8;
  EXPECT_THAT(error(compressed.bytes()), HasSubstr("zip entry 'w/data/0': it is compressed"));
  compressed.entries[0].method = 93;
  EXPECT_THAT(error(compressed.bytes()),
              HasSubstr("zip entry 'w/data.pkl': it is compressed (method 93)"));
  EXPECT_THAT(error(with("w/data.pkl", "")), HasSubstr("data.pkl, byte 0: a pickle of protocol"));
}

TEST(TorchCheckpointTest, HoldsTensorsAgainstTheirStorages) {
  EXPECT_THAT(parse(sound_file()).find("x")->shape, ElementsAre(2, 3));
  EXPECT_THAT(parse(tensor_file({2, {4}, {1}})).find("x")->bytes, SizeIs(16));
  EXPECT_THAT(parse(tensor_file({5, {1, 1}, {77, 99}})).find("x")->bytes, SizeIs(4));
  EXPECT_THAT(parse(tensor_file({6, {0, 5}, {5, 1}})).find("x")->bytes, IsEmpty());
  EXPECT_THAT(parse(tensor_file({5, {}, {}})).find("x")->bytes, SizeIs(4));

  EXPECT_THAT(error(tensor_file({0, {7}, {1}})),
              HasSubstr("tensor 'x': 7 elements from element 0 on found, its storage has 6"));
  EXPECT_THAT(error(tensor_file({3, {2, 2}, {2, 1}})), HasSubstr("4 elements from element 3 on"));
  EXPECT_THAT(error(tensor_file({7, {0}, {1}})),
              HasSubstr("it begins at element 7 of a storage of 6"));
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_THAT(error(tensor_file({most, {1}, {1}})), HasSubstr("it begins at element 92233"));
  EXPECT_THAT(error(tensor_file({0, {most}, {1}})), HasSubstr("elements from element 0 on"));
  EXPECT_THAT(error(tensor_file({6, {most}, {1}})), HasSubstr("elements from element 6 on"));
  EXPECT_THAT(error(tensor_file({0, {most, most}, {most, 1}})), HasSubstr("overflows"));
  // 2^62 elements of 4 bytes: what they need overflows to 0.
  EXPECT_THAT(error(tensor_file({0, {std::int64_t{1} << 62U}, {1}})),
              HasSubstr("elements from element 0 on"));
  EXPECT_THAT(error(tensor_file({0, {4, std::int64_t{1} << 62U}, {std::int64_t{1} << 62U, 1}})),
              HasSubstr("overflows"));
  EXPECT_THAT(parse(tensor_file({0, {0, most, most}, {most, most, 1}})).refused(), SizeIs(0));
  EXPECT_THAT(parse(tensor_file({0, {3, 2}, {1, 3}})).refused(), SizeIs(1));
  EXPECT_THAT(parse(tensor_file({0, {most}, {0}})).refused(), SizeIs(1));

  const auto storage_error = [](const std::string& storage) {
    return error(file_of(dict(text("x") + tensor(storage, {0, {1}, {1}}))));
  };
  EXPECT_THAT(storage_error(storage("FloatStorage", "1", 6)),
              HasSubstr("tensor 'x': its storage '1' is not in the archive"));
  EXPECT_THAT(storage_error(storage("FloatStorage", "../version", 6)), HasSubstr("is not in"));
  EXPECT_THAT(storage_error(storage("FloatStorage", "0\n", 6)), HasSubstr("'0\\x0a' is not in"));
  EXPECT_THAT(storage_error(storage("FloatStorage", std::string(1000, '0'), 6)),
              HasSubstr("...' is not in"));
  for (const std::int64_t elements : {0, 5, 7}) {
    EXPECT_THAT(storage_error(storage("FloatStorage", "0", elements)),
                HasSubstr("its storage '0' has 24 bytes, "s + std::to_string(elements) +
                          " elements of type float32 expected"));
  }
  EXPECT_THAT(storage_error(storage("FloatStorage", "0", (std::int64_t{1} << 62U) + 6)),
              HasSubstr("its storage '0' has 24 bytes"));
  EXPECT_THAT(storage_error(storage("LongStorage", "0", 6)), HasSubstr("has 24 bytes"));
}

TEST(TorchCheckpointTest, HoldsTheStateDictToItsShape) {
  const std::string x = tensor(storage("FloatStorage", "0", 6), {0, {1}, {1}});
  EXPECT_THAT(error(file_of("N")), HasSubstr("data.pkl: None found, a state dict expected"));
  EXPECT_THAT(error(file_of(x)), HasSubstr("a tensor found, a state dict expected"));
  EXPECT_THAT(error(file_of("}")), HasSubstr("no tensors found"));
  EXPECT_THAT(error(file_of(dict(text("a") + "N"))), HasSubstr("no tensors found"));
  EXPECT_THAT(error(file_of(dict(text("net") + dict(text("a") + x)))),
              HasSubstr("no tensors found"));
  EXPECT_THAT(error(file_of(dict("K\1"s + x))),
              HasSubstr("data.pkl: an integer found as a key of the state dict, a text expected"));
  EXPECT_THAT(error(file_of(dict(text("a") + x + text("a") + x))),
              HasSubstr("tensor 'a': named twice"));
  EXPECT_THAT(error(file_of(dict(text("a\x1b") + x))),
              HasSubstr("tensor 'a\\x1b': printable ASCII expected in a name"));
  EXPECT_THAT(error(file_of(dict(text("") + x))), HasSubstr("a name of 0 bytes found"));
  EXPECT_THAT(error(file_of(dict(text(std::string(256, 'a')) + x))),
              HasSubstr("a name of 256 bytes found, 1 to 255 expected"));

  const TensorSource mixed = parse(file_of(dict(text("x") + x + text("step") + "K\1")));
  EXPECT_EQ(error_of<FileError>([&] { return mixed.find("step"); }),
            "w.bin: tensor 'step': an integer found, a tensor expected");

  const std::string inner = dict(text("x") + x);
  EXPECT_THAT(parse(file_of(dict(text("model") + inner))).tensors(), SizeIs(1));
  EXPECT_THAT(parse(file_of(dict(text("state_dict") + inner + text("model") + "}"))).tensors(),
              SizeIs(1));
  EXPECT_THAT(error(file_of(dict(text("x") + x + text("model") + inner))),
              HasSubstr("tensors found in the dict that was saved and under 'model'"));
  EXPECT_THAT(error(file_of(dict(text("model") + inner + text("model") + inner))),
              HasSubstr("data.pkl, key 'model': it is there twice"));
  EXPECT_THAT(error(file_of(dict(text("model") + dict(text("model") + inner)))),
              HasSubstr("no tensors found"));
  EXPECT_THAT(error(file_of("}q\x00("s + text("model") + "h\x00u"s)),
              HasSubstr("no tensors found"));
}

TEST(TorchCheckpointTest, BytesHaveFewNames) {
  const std::string x =
      tensor(storage("FloatStorage", "0", 250'000), {0, {250'000}, {1}}) + "q\x00"s;
  const auto file_with = [&](int names) {
    std::string items = text("0") + x;
    for (int i = 1; i < names; ++i) items += text(std::to_string(i)) + "h\x00"s;
    ZipTestWriter writer = archive_of(pickle(dict(items)));
    writer.entries[2].data = std::string(1'000'000, '\0');
    return writer.bytes();
  };
  EXPECT_THAT(parse(file_with(8)).tensors(), SizeIs(8));
  EXPECT_THAT(error(file_with(9)),
              HasSubstr("data.pkl: tensors of more than 8 times the file's bytes found"));
}

TEST(TorchCheckpointTest, EveryTruncationIsRefused) {
  const std::string file = read_golden("types.bin");
  for (std::size_t size = 0; size < file.size(); ++size) {
    // In memory of its own, so that a sanitizer sees what is read behind it.
    const std::vector<std::byte> cut(bytes_of(file).begin(),
                                     bytes_of(file).begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_NE(error_of<FileError>([&] { return parse_torch_checkpoint("w.bin", cut); }), "no error")
        << size;
  }
}

TEST(TorchCheckpointTest, EveryFlippedBitIsReadOrRefused) {
  const auto flip = [](std::string file, std::size_t bit) {
    file[bit / 8] = static_cast<char>(static_cast<unsigned char>(file[bit / 8]) ^ 1U << bit % 8);
    return file;
  };
  // All bits of a small file; of a larger one, one of each byte.
  for (const auto& [name, step] :
       std::vector<std::pair<std::string, std::size_t>>{{"protocol_4.bin", 1}, {"types.bin", 9}}) {
    const std::string file = read_golden(name);
    std::size_t refused = 0;
    std::size_t read = 0;
    for (std::size_t bit = 0; bit < 8 * file.size(); bit += step) {
      try {
        EXPECT_GT(read_all(parse(flip(file, bit))), 0U);
        ++read;
      } catch (const FileError&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 1000U) << name;
    EXPECT_GT(read, 1000U) << name;  // of weights, padding and dates
  }
}

// Somebody who changes a pickle makes its checksum right.
TEST(TorchCheckpointTest, EveryChangedPickleIsReadOrRefused) {
  const std::string sound =
      pickle(dict(text("x") + tensor(storage("FloatStorage", "0", 6), {2, {2, 1}, {1, 1}}) +
                  text("y") + tensor(storage("FloatStorage", "0", 6), {0, {3}, {2}})));
  std::size_t refused = 0;
  for (std::size_t at = 0; at < sound.size(); ++at) {
    for (unsigned byte = 0; byte < 256; byte += 5) {
      std::string damaged = sound;
      damaged[at] = static_cast<char>(byte);
      const std::string file = archive_of(damaged).bytes();
      try {
        EXPECT_GT(read_all(parse(file)), 0U);
      } catch (const FileError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 20 * sound.size());
}

}  // namespace
}  // namespace fathom
