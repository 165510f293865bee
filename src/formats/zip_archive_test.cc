#include "formats/zip_archive.h"

#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/zip_test_writer.h"

namespace fathom {
namespace {

using namespace std::string_literals;

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using Sizes = ZipTestEntry::Sizes;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ZipTestWriter two_files() {
  return {.entries = {{.name = "x/data/0", .data = "twelve bytes"},
                      {.name = "x/a", .data = "more", .sizes = Sizes::behind_data}}};
}

std::string error(const std::string& file) {
  std::string message =
      error_of<FileError>([&] { return ZipArchive::parse("file.bin", bytes_of(file)); });
  EXPECT_THAT(message, StartsWith("file.bin: "));
  return message;
}

std::string error(const ZipTestWriter& writer) { return error(writer.bytes()); }

/// Of an archive with this entry and a sound one.
std::string entry_error(const ZipTestEntry& entry) {
  return error(ZipTestWriter{.entries = {{.name = "sound", .data = "data"}, entry}});
}

/// Reads all that an archive gives, so that a sanitizer sees what leaves it.
std::uint64_t read_all(const ZipArchive& archive) {
  std::uint64_t sum = archive.entries().size();
  for (const ZipEntry& entry : archive.entries()) {
    EXPECT_EQ(archive.find(entry.name), &entry);
    for (const std::byte b : entry.bytes) sum += std::to_integer<std::uint64_t>(b);
  }
  return sum;
}

TEST(ZipArchiveTest, GivesViewsOfTheFilesInIt) {
  const std::string file = two_files().bytes();
  const ZipArchive archive = ZipArchive::parse("file.bin", bytes_of(file));
  EXPECT_EQ(archive.origin(), "file.bin");
  ASSERT_EQ(archive.entries().size(), 2U);
  EXPECT_EQ(archive.entries()[0].name, "x/a");
  EXPECT_EQ(text_of(archive.entries()[0].bytes), "more");
  const ZipEntry* const entry = archive.find("x/data/0");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(text_of(archive.checked_content(*entry)), "twelve bytes");
  EXPECT_GE(reinterpret_cast<const char*>(entry->bytes.data()), file.data());
  EXPECT_LE(reinterpret_cast<const char*>(entry->bytes.data()), file.data() + file.size());
  EXPECT_EQ(archive.find("x/data"), nullptr);
  EXPECT_EQ(archive.find(""), nullptr);
}

TEST(ZipArchiveTest, ReadsEveryKindOfSizesAndEnds) {
  for (const ZipTestWriter::End end : {ZipTestWriter::End::plain, ZipTestWriter::End::zip64}) {
    for (const Sizes sizes : {Sizes::in_headers, Sizes::behind_data, Sizes::in_zip64}) {
      const std::string padding("FB\x02\x00ZZ", 6);
      const std::string file =
          ZipTestWriter{.entries = {{.name = "folder/"},
                                    {.name = "a",
                                     .data = "123456789",
                                     .sizes = sizes,
                                     .local_extra = padding},
                                    {.name = "b", .data = "more", .sizes = sizes}},
                        .end = end}
              .bytes();
      const ZipArchive archive = ZipArchive::parse("file.bin", bytes_of(file));
      ASSERT_EQ(archive.entries().size(), 3U);
      EXPECT_EQ(text_of(archive.find("a")->bytes), "123456789");
      EXPECT_EQ(archive.find("a")->crc32, 0xcbf43926U);  // the check value of the CRC's definition
      EXPECT_EQ(text_of(archive.checked_content(*archive.find("a"))), "123456789");
      EXPECT_EQ(text_of(archive.find("b")->bytes), "more");
      EXPECT_THAT(archive.find("folder/")->bytes, IsEmpty());
    }
  }
  const std::string empty = ZipTestWriter().bytes();
  EXPECT_THAT(ZipArchive::parse("file.bin", bytes_of(empty)).entries(), IsEmpty());
}

TEST(ZipArchiveTest, ReadsMoreEntriesThan16BitsCount) {
  ZipTestWriter writer{.end = ZipTestWriter::End::zip64};
  for (int i = 0; i < 70'000; ++i) writer.entries.push_back({.name = std::to_string(i)});
  const std::string file = writer.bytes();
  const ZipArchive archive = ZipArchive::parse("file.bin", bytes_of(file));
  EXPECT_EQ(archive.entries().size(), 70'000U);
  EXPECT_NE(archive.find("69999"), nullptr);
  writer.end = ZipTestWriter::End::plain;
  EXPECT_THAT(error(writer), HasSubstr("bytes found behind the last of 4464 entries"));
}

TEST(ZipArchiveTest, ComparesNoChecksumWhereThereIsNone) {
  const std::string file =
      ZipTestWriter{.entries = {{.name = "a", .data = "data", .crc32 = 0}}}.bytes();
  const ZipArchive archive = ZipArchive::parse("file.bin", bytes_of(file));
  EXPECT_EQ(text_of(archive.checked_content(*archive.find("a"))), "data");
}

TEST(ZipArchiveTest, ComparesChecksumsOnDemand) {
  const std::string file =
      ZipTestWriter{.entries = {{.name = "a", .data = "data", .crc32 = 0x12345678}}}.bytes();
  const ZipArchive archive = ZipArchive::parse("file.bin", bytes_of(file));
  EXPECT_THAT(error_of<FileError>([&] { return archive.checked_content(*archive.find("a")); }),
              AllOf(StartsWith("file.bin: zip entry 'a': CRC-32 "),
                    EndsWith("12345678 expected: the file is damaged")));
}

TEST(ZipArchiveTest, RefusesFilesOfAnotherKind) {
  EXPECT_THAT(error(""), HasSubstr("an empty file found, a zip archive expected"));
  EXPECT_THAT(error("GGUF"), HasSubstr("a GGUF file found, a zip archive expected"));
  EXPECT_THAT(error(std::string("GGUF") + std::string(100, '\0')), HasSubstr("a GGUF file found"));
  EXPECT_THAT(error(two_files().bytes() + "x"), HasSubstr("no zip end record found"));
  EXPECT_THAT(error("PK\x03\x04"s + std::string(100, '\0')),
              HasSubstr("byte 82: no zip end record found"));
  std::string comment = two_files().bytes();
  comment[comment.size() - 2] = '\x03';
  EXPECT_THAT(error(comment + "abc"), HasSubstr("no zip end record found"));
}

TEST(ZipArchiveTest, HoldsTheDirectoryAgainstTheFile) {
  for (const ZipTestWriter::End end : {ZipTestWriter::End::plain, ZipTestWriter::End::zip64}) {
    ZipTestWriter writer = two_files();
    writer.end = end;
    writer.entry_count = 1;
    EXPECT_THAT(error(writer), HasSubstr("bytes found behind the last of 1 entries"));
    writer.entry_count = 3;
    EXPECT_THAT(error(writer), HasSubstr("3 entries found, which need at least 46 bytes each"));
    writer.entry_count = 0xfffe;
    EXPECT_THAT(error(writer), HasSubstr("65534 entries found"));
    writer = two_files();
    writer.end = end;
    writer.directory_offset = 0;
    EXPECT_THAT(error(writer), HasSubstr("bytes at byte 0 found, one that ends at byte"));
    writer.directory_offset = 0xfffffff0;
    EXPECT_THAT(error(writer), HasSubstr("at byte 4294967280 found"));
    writer = two_files();
    writer.end = end;
    writer.directory_size = 3;
    EXPECT_THAT(error(writer), HasSubstr("a central directory of 3 bytes"));
    writer = two_files();
    writer.end = end;
    writer.disk = 1;
    EXPECT_NE(error(writer), "");
  }
  ZipTestWriter wide = two_files();
  wide.end = ZipTestWriter::End::zip64;
  for (const std::uint64_t extreme : {std::uint64_t{1} << 63U, ~std::uint64_t{0}}) {
    wide.entry_count = extreme;
    EXPECT_THAT(error(wide), HasSubstr("entries found, which need at least 46 bytes each"));
    wide = two_files();
    wide.end = ZipTestWriter::End::zip64;
    wide.directory_offset = extreme;
    EXPECT_THAT(error(wide), HasSubstr("one that ends at byte"));
    wide.directory_offset.reset();
    wide.directory_size = extreme;
    EXPECT_THAT(error(wide), HasSubstr("one that ends at byte"));
    wide.directory_size.reset();
  }
  ZipTestWriter gap = two_files();
  gap.gap = "between";  // nothing says what it is, and nothing reads it
  EXPECT_EQ(read_all(ZipArchive::parse("file.bin", bytes_of(gap.bytes()))) > 0, true);
}

TEST(ZipArchiveTest, TheTwoEndRecordsMustAgree) {
  ZipTestWriter writer = two_files();
  writer.end = ZipTestWriter::End::zip64;
  std::string file = writer.bytes();
  file[file.size() - 22 + 8] = '\x01';  // entries, which were "see elsewhere"
  file[file.size() - 22 + 9] = '\x00';
  file[file.size() - 22 + 10] = '\x01';
  file[file.size() - 22 + 11] = '\x00';
  EXPECT_THAT(error(file), HasSubstr("the two end records of the zip archive disagree"));
  file = writer.bytes();
  file[file.size() - 22 - 20 + 8] = '\x01';  // where the locator finds the other
  EXPECT_THAT(error(file), HasSubstr("one right before this expected"));
  file = writer.bytes();
  file[file.size() - 22 - 20 - 56] = 'X';
  EXPECT_THAT(error(file), HasSubstr("a ZIP64 end record of 56 bytes expected"));
}

TEST(ZipArchiveTest, RefusesCompressionAndEncryption) {
  const std::string compressed = ZipTestWriter{
      .entries = {{.name = "a",
                   .data = "x",
                   .method = 8,
                   .local_size = 0xffffffff,
                   .size = 1000,
                   .compressed = 1}}}.bytes();
  const ZipArchive archive = ZipArchive::parse("file.bin", bytes_of(compressed));
  const std::string message =
      "file.bin: zip entry 'a': it is compressed (method 8); stored bytes, as torch.save writes "
      "them, expected";
  EXPECT_EQ(error_of<FileError>([&] { return archive.content(*archive.find("a")); }), message);
  EXPECT_EQ(error_of<FileError>([&] { return archive.checked_content(*archive.find("a")); }),
            message);
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .flags = 1}), HasSubstr("it is encrypted"));
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .flags = 1U << 13U}),
              HasSubstr("flags 0x2000 found, which are not supported"));
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .disk = 1}), HasSubstr("several disks"));
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .size = 1000, .compressed = 1}),
              HasSubstr("1000 bytes stored as 1 found, as many expected"));
}

TEST(ZipArchiveTest, RefusesOddNames) {
  for (const std::string name : {"/etc/passwd", "../a", "a/../b", "a/..", "..", "/"}) {
    EXPECT_THAT(entry_error({.name = name}),
                AllOf(HasSubstr("named '"s + name + "'"), HasSubstr("a path inside the archive")));
  }
  EXPECT_THAT(entry_error({.name = "a\\b"}), HasSubstr("printable ASCII without backslashes"));
  EXPECT_THAT(entry_error({.name = std::string("a\0b", 3)}), HasSubstr("'a\\x00b'"));
  EXPECT_THAT(entry_error({.name = "a\nb"}), HasSubstr("'a\\x0ab'"));
  EXPECT_THAT(entry_error({.name = "\xe6\xa8\xa1"}), HasSubstr("'\\xe6\\xa8\\xa1'"));
  EXPECT_THAT(entry_error({.name = ""}), HasSubstr("a name of 1 to 1000 bytes expected"));
  EXPECT_THAT(entry_error({.name = std::string(1001, 'a')}), HasSubstr("a name of 1 to 1000"));
  EXPECT_THAT(entry_error({.name = "sound", .data = "other"}),
              HasSubstr("zip entry 'sound': the name is there twice"));
  const std::string dots = ZipTestWriter{.entries = {{.name = "a../..b/..."}}}.bytes();
  EXPECT_EQ(ZipArchive::parse("file.bin", bytes_of(dots)).entries().size(), 1U);
}

TEST(ZipArchiveTest, LocalHeadersMustAgreeWithTheDirectory) {
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .local_name = "b"}),
              HasSubstr("zip entry 'a': name, flags or method are others at byte"));
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .local_name = ""}), HasSubstr("are others"));
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .local_size = 2}),
              HasSubstr("2 bytes found at byte 39, 1 in the central directory"));
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .local_size = 0}), HasSubstr("0 bytes found"));
}

TEST(ZipArchiveTest, EntriesLieInTheArchiveAndDoNotOverlap) {
  EXPECT_THAT(entry_error({.name = "a", .data = "x", .offset = 1}),
              HasSubstr("no header of an entry found at byte 1"));
  for (const std::uint64_t offset :
       {std::uint64_t{1000}, std::uint64_t{0xfffffffe}, ~std::uint64_t{0}}) {
    EXPECT_THAT(entry_error({.name = "a", .data = "x", .sizes = Sizes::in_zip64, .offset = offset}),
                HasSubstr("but the central directory is at byte"));
  }
  for (const std::uint64_t size :
       {std::uint64_t{1000}, std::uint64_t{1} << 63U, ~std::uint64_t{0}, ~std::uint64_t{0} - 40}) {
    EXPECT_THAT(entry_error({.name = "a", .data = "x", .sizes = Sizes::in_zip64, .size = size}),
                HasSubstr("the central directory is at byte"));
  }
  // Two entries with the same bytes.
  EXPECT_THAT(entry_error({.name = "a", .data = "data", .local_name = "sound", .offset = 0}),
              HasSubstr("are others"));
  ZipTestEntry inner{.name = "b", .data = "x"};
  std::string quoted = ZipTestWriter{.entries = {inner}}.bytes();
  quoted.resize(30 + 1 + 1);  // its local header and data, to lie in the data of another
  inner.offset = 30 + 1;
  ZipTestWriter bomb{.entries = {{.name = "a", .data = quoted}, inner}};
  EXPECT_THAT(error(bomb), HasSubstr("zip entry 'a': its bytes overlap those of 'b'"));
}

TEST(ZipArchiveTest, RefusesZip64NumbersThatAreMissing) {
  std::string file =
      ZipTestWriter{.entries = {{.name = "a", .data = "x", .sizes = Sizes::in_zip64}}}.bytes();
  const std::size_t directory = file.find("PK\x01\x02");
  std::string shorter = file;
  shorter[directory + 46 + 1 + 7 + 2] = '\x10';  // 16 bytes of numbers: none is left for the offset
  EXPECT_THAT(error(shorter), HasSubstr("zip entry 'a': its ZIP64 sizes are missing"));
  file[directory + 46 + 1 + 7] = '\x02';  // of another kind
  EXPECT_THAT(error(file), HasSubstr("zip entry 'a': its ZIP64 sizes are missing"));
}

std::vector<std::string> sound_files() {
  ZipTestWriter wide = two_files();
  wide.end = ZipTestWriter::End::zip64;
  for (ZipTestEntry& entry : wide.entries) entry.sizes = Sizes::in_zip64;
  return {two_files().bytes(), wide.bytes()};
}

TEST(ZipArchiveTest, EveryTruncationIsRefused) {
  for (const std::string& file : sound_files()) {
    for (std::size_t size = 0; size < file.size(); ++size) {
      // In memory of its own, so that a sanitizer sees what is read behind it.
      const std::vector<std::byte> cut(bytes_of(file).begin(),
                                       bytes_of(file).begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_NE(error_of<FileError>([&] { return ZipArchive::parse("file.bin", cut); }), "no error")
          << size;
    }
  }
}

TEST(ZipArchiveTest, EveryFlippedBitIsReadOrRefused) {
  for (const std::string& file : sound_files()) {
    std::size_t refused = 0;
    for (std::size_t at = 0; at < file.size(); ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        std::string damaged = file;
        damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ 1U << bit);
        try {
          EXPECT_GT(read_all(ZipArchive::parse("file.bin", bytes_of(damaged))), 0U);
        } catch (const FileError&) {
          ++refused;
        }
      }
    }
    EXPECT_GT(refused, file.size());
  }
}

TEST(ZipArchiveTest, EveryFieldSetToExtremesIsReadOrRefused) {
  for (const std::string& file : sound_files()) {
    std::size_t refused = 0;
    for (std::size_t at = 0; at + 8 <= file.size(); ++at) {
      for (const std::uint64_t value :
           {std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(), std::uint64_t{1} << 63U,
            std::uint64_t{0x7fffffff}, std::uint64_t{0xffffffff}}) {
        std::string damaged = file.substr(0, at);
        ZipTestWriter::put<std::uint64_t>(damaged, value);
        damaged += file.substr(at + 8);
        try {
          EXPECT_GT(read_all(ZipArchive::parse("file.bin", bytes_of(damaged))), 0U);
        } catch (const FileError&) {
          ++refused;
        }
      }
    }
    EXPECT_GT(refused, file.size());
  }
}

}  // namespace
}  // namespace fathom
