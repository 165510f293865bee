#include "data/row_log.h"

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto beginning = R"({"id":)";

class RowLogTest : public testing::Test {
 protected:
  std::string text() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& bytes) const { (void)folder_.write("rows.jsonl", bytes); }

  static std::vector<std::string> ids(const RowLog& log) {
    std::vector<std::string> result;
    log.read([&](const JsonLine& row) { result.push_back(row.value.at("id")); });
    return result;
  }
  std::string error() const {
    return error_of<FileError>([&] { RowLog(path_, beginning); });
  }

  TestFolder folder_;
  std::filesystem::path path_ = folder_.path() / "rows.jsonl";
};

TEST_F(RowLogTest, KeepsRowsInTheOrderInWhichTheyCome) {
  {
    RowLog log(path_, beginning);
    EXPECT_THAT(ids(log), IsEmpty());
    log.append(R"({"id":"b"})");
    EXPECT_EQ(text(), "{\"id\":\"b\"}\n");  // at once
    log.append(R"({"id":"a"})");
    EXPECT_THAT(ids(log), ElementsAre("b", "a"));
  }
  RowLog log(path_, beginning);
  log.append(R"({"id":"c"})");
  EXPECT_THAT(ids(log), ElementsAre("b", "a", "c"));
  log.reorder(std::vector<std::size_t>{1, 0, 2});
  EXPECT_EQ(text(), "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
}

// Cut off after any byte, the rows that are whole are kept and the next one takes the torn one's
// place.
TEST_F(RowLogTest, GoesOnAfterAKillAtAnyByte) {
  const std::string whole = "{\"id\":\"a\"}\n{\"id\":\"b\"}\n";
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    write(whole.substr(0, size));
    RowLog log(path_, beginning);
    const std::size_t rows = size / 11;
    EXPECT_EQ(ids(log).size(), rows) << size;
    EXPECT_EQ(text(), whole.substr(0, size));  // as long as nothing is added
    log.append(R"({"id":"c"})");
    EXPECT_EQ(text(), whole.substr(0, 11 * rows) + "{\"id\":\"c\"}\n") << size;
  }
}

TEST_F(RowLogTest, ReordersWhatIsWholeOnly) {
  write("{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c");
  RowLog log(path_, beginning);
  log.reorder(std::vector<std::size_t>{1, 0});
  EXPECT_EQ(text(), "{\"id\":\"b\"}\n{\"id\":\"a\"}\n");
}

TEST_F(RowLogTest, LeavesAnUnfinishedLineOfAnotherKindAlone) {
  for (const std::string other :
       {"important", "{\"id\":\"a\"}\n{\"ID\":\"b\"", "{\"prompt\":\"x\"}"}) {
    write(other);
    EXPECT_THAT(error(), HasSubstr("rows.jsonl: last line")) << other;
    EXPECT_EQ(text(), other);
  }
}

TEST_F(RowLogTest, NamesTheLineThatIsNoJson) {
  write("{\"id\":\"a\"}\nbroken\n");
  const RowLog log(path_, beginning);
  EXPECT_THAT(error_of<FileError>([&] { return ids(log); }), HasSubstr("line 2"));
}

TEST_F(RowLogTest, HasOneWriter) {
  {
    RowLog log(path_, beginning);
    EXPECT_THAT(error(), HasSubstr("another"));
    log.append(R"({"id":"b"})");
    log.append(R"({"id":"a"})");
    log.reorder(std::vector<std::size_t>{1, 0});
  }
  EXPECT_EQ(error(), "no error");
}

TEST_F(RowLogTest, RefusesWhatIsNoFile) {
  EXPECT_THAT(error_of<FileError>([&] { RowLog(folder_.path(), beginning); }),
              HasSubstr(folder_.path().string()));
  EXPECT_THROW(RowLog("/nonexistent/rows", beginning), FileError);
  EXPECT_THROW(RowLog("/dev/null", beginning), FileError);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THROW(RowLog(path_, beginning), FileError);
}

TEST_F(RowLogTest, SaysThatTheDiskIsFull) {
  RowLog log(path_, beginning);
  log.append(R"({"id":"a"})");
  // A limit on files stands in for it.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_NE(std::signal(SIGXFSZ, SIG_IGN), SIG_ERR);
  const rlimit small{.rlim_cur = 15, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string error = error_of<FileError>([&] { log.append(R"({"id":"bcd"})"); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(error, HasSubstr("cannot write"));
  // What was written of it makes way.
  log.append(R"({"id":"e"})");
  EXPECT_EQ(text(), "{\"id\":\"a\"}\n{\"id\":\"e\"}\n");
}

}  // namespace
}  // namespace fathom
