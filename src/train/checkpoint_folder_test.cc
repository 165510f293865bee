#include "train/checkpoint_folder.h"

#include <csignal>
#include <string>
#include <sys/resource.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/error_of.h"
#include "base/mapped_file.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// A folder of one file, which says which one it is.
class CheckpointFolder : public testing::Test {
 protected:
  fs::path folder() const { return files_.path() / "checkpoint"; }
  fs::path beside(const char* suffix) const { return folder() += suffix; }
  static void fill(const fs::path& folder, const std::string& text) {
    fs::create_directories(folder);
    write_file_atomically(folder / "text", text);
  }
  void replace(const std::string& text) const {
    replace_folder(folder(), [&](const fs::path& aside) { fill(aside, text); });
  }
  std::string text() const { return read_text_file(folder() / "text", 100); }
  void expect_nothing_beside() const {
    EXPECT_FALSE(fs::exists(beside(".new")));
    EXPECT_FALSE(fs::exists(beside(".old")));
  }
  // A save after any kill leaves the new folder and nothing else.
  void expect_next_save_works() const {
    replace("next");
    EXPECT_EQ(text(), "next");
    expect_nothing_beside();
  }

 private:
  TestFolder files_;
};

TEST_F(CheckpointFolder, IsReplacedAsAWhole) {
  EXPECT_FALSE(recover_folder(folder()));
  replace("first");
  EXPECT_TRUE(recover_folder(folder()));
  EXPECT_EQ(text(), "first");
  replace("second");
  EXPECT_EQ(text(), "second");
  expect_nothing_beside();
}

TEST_F(CheckpointFolder, SurvivesAKillBeforeTheFirstIsWhole) {
  fill(beside(".new"), "torn");
  EXPECT_FALSE(recover_folder(folder()));
  expect_next_save_works();
}

TEST_F(CheckpointFolder, SurvivesAKillWhileTheNextIsWritten) {
  fill(folder(), "old");
  fill(beside(".new"), "torn");
  ASSERT_TRUE(recover_folder(folder()));
  EXPECT_EQ(text(), "old");
  expect_next_save_works();
}

TEST_F(CheckpointFolder, SurvivesAKillBetweenTheRenames) {
  fill(beside(".old"), "old");
  fill(beside(".new"), "new");
  ASSERT_TRUE(recover_folder(folder()));
  EXPECT_EQ(text(), "old");
  expect_next_save_works();
}

// The save that comes next may be the first that looks.
TEST_F(CheckpointFolder, KeepsTheOldOneIfTheNextSaveFailsAfterAKillBetweenTheRenames) {
  fill(beside(".old"), "old");
  fill(beside(".new"), "new");
  EXPECT_THROW(replace_folder(folder(), [](const fs::path&) { throw FileError("a", "", "b"); }),
               FileError);
  EXPECT_EQ(text(), "old");
}

TEST_F(CheckpointFolder, SurvivesAKillBeforeTheOldOneIsGone) {
  fill(folder(), "new");
  fill(beside(".old"), "old");
  ASSERT_TRUE(recover_folder(folder()));
  EXPECT_EQ(text(), "new");
  expect_next_save_works();
}

// A limit on the size of files stands for a disk without room: both refuse to set the bytes aside.
TEST_F(CheckpointFolder, StaysIfThereIsNoRoomForTheNext) {
  replace("old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 1000, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string error = error_of<FileError>([&] { replace(std::string(1001, 'x')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(error, testing::HasSubstr("checkpoint.new/text"));
  EXPECT_THAT(error, testing::HasSubstr("cannot write"));
  EXPECT_EQ(text(), "old");
  expect_nothing_beside();
}

}  // namespace
}  // namespace fathom
