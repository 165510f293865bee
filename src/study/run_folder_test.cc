#include "study/run_folder.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_of.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

RunConfig a_run() {
  return {.study = "similarity",
          .versions = {"1.0"},
          .command = "fathom study",
          .model_path = "m.gguf",
          .model_name = "m",
          .model_sha256 = "abc",
          .layers = 30,
          .data_path = "d.jsonl",
          .data_sha256 = "def",
          .data_kind = "prompt",
          .rows = 10,
          .options = {{"costs", {1, 2}}, {"seed", 0}, {"on", "labels"}}};
}

class RunFolderTest : public testing::Test {
 protected:
  RunFolderTest() { std::filesystem::remove_all(path_); }
  ~RunFolderTest() override { std::filesystem::remove_all(path_); }

  std::string refused(const RunConfig& config) {
    return error_of<FileError>([&] { RunFolder::open_to_measure(path_, config); });
  }

  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string("fathom_") + testing::UnitTest::GetInstance()->current_test_info()->name()) /
      "run";
};

TEST_F(RunFolderTest, GoesOnWithTheSameOptions) {
  RunFolder::open_to_measure(path_, a_run()).store().put({3, "full", "value"});
  RunConfig moved = a_run();  // contents matter, places do not
  moved.model_path = "elsewhere/m.gguf";
  moved.command = "fathom study again";
  const RunFolder folder = RunFolder::open_to_measure(path_, moved);
  EXPECT_EQ(folder.store().results().size(), 1U);
  EXPECT_TRUE(folder.warnings().empty());
  EXPECT_EQ(folder.config().command, "fathom study again");
}

// Options may be objects, and lists of them, whose keys are not in alphabetical order.
TEST_F(RunFolderTest, OptionsOfManyKeysAreTheSameReadBack) {
  RunConfig config = a_run();
  config.options["cells"] = {{{"input", "fixed"}, {"alpha", 2.0}}};
  config.options["routes"] = {{"ranked:8", "1-8"}, {"ranked:20", "1-20"}};
  RunFolder::open_to_measure(path_, config);
  RunFolder::open_to_measure(path_, config);
  config.options["cells"][0]["alpha"] = 4.0;
  EXPECT_THAT(refused(config), HasSubstr("cells: "));
}

TEST_F(RunFolderTest, RefusesOtherOptionsAndNamesWhatDiffers) {
  RunFolder::open_to_measure(path_, a_run());
  RunConfig other = a_run();
  other.options["seed"] = 1;
  EXPECT_THAT(refused(other), AllOf(HasSubstr("seed: 0 there, 1 asked for"),
                                    Not(HasSubstr("costs")), Not(HasSubstr("on:"))));
  other.options["costs"] = {1, 2, 3};
  EXPECT_THAT(refused(other), AllOf(HasSubstr("seed: 0 there, 1 asked for"),
                                    HasSubstr("costs: [1,2] there, [1,2,3] asked for")));
  other = a_run();
  other.model_sha256 = "123";
  EXPECT_THAT(refused(other), HasSubstr("model: m.gguf (SHA-256 abc) there"));
  other = a_run();
  other.data_sha256 = "123";
  EXPECT_THAT(refused(other), HasSubstr("data: d.jsonl"));
  other = a_run();
  other.options["more"] = true;
  EXPECT_THAT(refused(other), HasSubstr("more: nothing there, true asked for"));
  other = a_run();
  other.options.erase("on");
  EXPECT_THAT(refused(other), HasSubstr("on: labels there, nothing asked for"));
  other = a_run();
  other.study = "oracle";
  EXPECT_THAT(refused(other), HasSubstr("study: similarity there, oracle asked for"));
}

TEST_F(RunFolderTest, MoreRowsExtendAndFewerAreRefused) {
  RunFolder::open_to_measure(path_, a_run());
  RunConfig more = a_run();
  more.rows = 20;
  EXPECT_EQ(RunFolder::open_to_measure(path_, more).config().rows, 20U);
  EXPECT_EQ(RunFolder::open_to_report(path_).config().rows, 20U);
  EXPECT_THAT(refused(a_run()), AllOf(HasSubstr("20 rows"), HasSubstr("--limit 20")));
}

TEST_F(RunFolderTest, AnotherVersionWarnsAndIsRecorded) {
  RunFolder::open_to_measure(path_, a_run());
  RunConfig later = a_run();
  later.versions = {"1.1"};
  const RunFolder folder = RunFolder::open_to_measure(path_, later);
  EXPECT_THAT(folder.warnings(), testing::ElementsAre(AllOf(HasSubstr("1.0"), HasSubstr("1.1"))));
  EXPECT_THAT(folder.config().versions, testing::ElementsAre("1.0", "1.1"));
}

TEST_F(RunFolderTest, ASecondWriterIsRefusedAndAReaderIsNot) {
  {
    const RunFolder folder = RunFolder::open_to_measure(path_, a_run());
    EXPECT_THAT(refused(a_run()),
                AllOf(HasSubstr("another fathom"), HasSubstr(std::to_string(::getpid()))));
    EXPECT_EQ(RunFolder::open_to_report(path_).config().rows, 10U);
  }
  RunFolder::open_to_measure(path_, a_run());
}

TEST_F(RunFolderTest, LeavesOtherFoldersAlone) {
  std::filesystem::create_directories(path_);
  std::ofstream(path_ / "thesis.tex") << "text";
  EXPECT_THAT(refused(a_run()), HasSubstr("thesis.tex"));
  EXPECT_THAT(error_of<FileError>([&] { RunFolder::open_to_report(path_); }),
              HasSubstr("no run's folder"));
  EXPECT_FALSE(std::filesystem::exists(path_ / "run.sqlite"));
}

TEST_F(RunFolderTest, ADamagedStoreIsAnErrorThatSaysWhatWasKept) {
  {
    RunFolder folder = RunFolder::open_to_measure(path_, a_run());
    for (std::uint64_t sample = 0; sample < 100; ++sample) {
      folder.store().put({sample, "full", std::string(100, 'x')});
    }
  }
  const std::filesystem::path store = path_ / "run.sqlite";
  std::fstream file(store, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(store) - 100));
  file << "damage";
  file.close();
  EXPECT_THAT(error_of<FileError>([&] { RunFolder::open_to_report(path_); }),
              AllOf(HasSubstr("damaged"), HasSubstr("99 results")));
  const std::string message = refused(a_run());
  EXPECT_THAT(message, AllOf(HasSubstr("damaged"), HasSubstr("99 results are whole and were kept"),
                             HasSubstr("run.damaged.sqlite")));
  EXPECT_TRUE(std::filesystem::exists(path_ / "run.damaged.sqlite"));
  EXPECT_EQ(RunFolder::open_to_measure(path_, a_run()).store().results().size(), 99U);
}

TEST_F(RunFolderTest, WithoutAnyDescriptionTheDamagedFileStays) {
  RunFolder::open_to_measure(path_, a_run());
  std::ofstream(path_ / "run.sqlite", std::ios::trunc) << "gone";
  // config.json still says what the run was.
  EXPECT_THAT(refused(a_run()), HasSubstr("0 results are whole and were kept"));
  std::ofstream(path_ / "run.sqlite", std::ios::trunc) << "gone";
  std::ofstream(path_ / "config.json", std::ios::trunc) << "{";
  EXPECT_THAT(refused(a_run()), HasSubstr("was left as it is"));
  EXPECT_EQ(std::filesystem::file_size(path_ / "run.sqlite"), 4U);
}

// What a process leaves that is killed while it makes the store.
TEST_F(RunFolderTest, BeginsAnewAfterAKillBeforeTheStore) {
  std::filesystem::create_directories(path_);
  for (const char* const name : {"lock", "run.sqlite.part", "run.sqlite.part-journal"}) {
    std::ofstream(path_ / name) << "half";
  }
  EXPECT_EQ(RunFolder::open_to_measure(path_, a_run()).config().rows, 10U);
  EXPECT_FALSE(std::filesystem::exists(path_ / "run.sqlite.part"));
  EXPECT_FALSE(std::filesystem::exists(path_ / "run.sqlite.part-journal"));
}

}  // namespace
}  // namespace fathom
