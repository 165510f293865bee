#include "base/atomic_file.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

class AtomicFileTest : public testing::Test {
 protected:
  AtomicFileTest() { std::filesystem::create_directories(folder_); }
  ~AtomicFileTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] std::ptrdiff_t files() const {
    return std::distance(std::filesystem::directory_iterator(folder_), {});
  }

  std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) /
                                  testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(AtomicFileTest, WritesAndReplaces) {
  write_file_atomically(folder_ / "a", std::string("x\0y\n", 4));
  EXPECT_EQ(read("a"), std::string("x\0y\n", 4));
  write_file_atomically(folder_ / "a", "");
  EXPECT_EQ(read("a"), "");
  EXPECT_EQ(files(), 1);
}

TEST_F(AtomicFileTest, FailureNamesTheFileAndLeavesNothingBehind) {
  EXPECT_THAT(error_of<FileError>([&] { write_file_atomically(folder_ / "no" / "a", "text"); }),
              testing::AllOf(testing::HasSubstr("no/a"), testing::HasSubstr("cannot write")));
  std::filesystem::create_directory(folder_ / "taken");
  EXPECT_THROW(write_file_atomically(folder_ / "taken", "text"), FileError);
  EXPECT_EQ(files(), 1);
}

TEST_F(AtomicFileTest, AppearsWhenCommittedAndNotBefore) {
  write_file_atomically(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a", 6);
    file.append(std::as_bytes(std::span("new", 3)));
    EXPECT_EQ(read("a"), "old");
    file.append(std::as_bytes(std::span("est", 3)));
    file.commit();
    EXPECT_EQ(read("a"), "newest");
  }
  EXPECT_EQ(files(), 1);
}

TEST_F(AtomicFileTest, WhatIsNotCommittedLeavesNothing) {
  write_file_atomically(folder_ / "a", "old");
  { AtomicFile(folder_ / "a", 1000).append(std::as_bytes(std::span("new", 3))); }
  EXPECT_EQ(read("a"), "old");
  EXPECT_EQ(files(), 1);
}

TEST_F(AtomicFileTest, IsAsLongAsWhatWasAppended) {
  AtomicFile file(folder_ / "a", 1000);
  file.append(std::as_bytes(std::span("text", 4)));
  file.commit();
  EXPECT_EQ(std::filesystem::file_size(folder_ / "a"), 4U);
}

TEST_F(AtomicFileTest, ARoomThatNoDiskHasIsNoticedAtOnce) {
  EXPECT_THAT(error_of<FileError>([&] { AtomicFile(folder_ / "a", std::uint64_t{1} << 60U); }),
              testing::HasSubstr("cannot write"));
  EXPECT_EQ(files(), 0);
}

TEST_F(AtomicFileTest, DoesNotReplaceADevice) {
  EXPECT_THAT(error_of<FileError>([&] { write_file_atomically("/dev/null", "text"); }),
              testing::HasSubstr("/dev/null"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

}  // namespace
}  // namespace fathom
