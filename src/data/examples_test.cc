#include "data/examples.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fathom {
namespace {

using testing::HasSubstr;

class ExamplesTest : public testing::Test {
 protected:
  ExamplesTest()
      : path_(std::filesystem::temp_directory_path() /
              ("fathom_examples_" +
               std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) +
               std::to_string(getpid()) + ".jsonl")) {}
  ~ExamplesTest() override { std::filesystem::remove(path_); }

  std::vector<Example> read(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return read_examples(path_);
  }
  std::string error_of(const std::string& text) {
    try {
      (void)read(text);
    } catch (const FileError& error) {
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path path_;
};

TEST_F(ExamplesTest, ReadsBothShapesAndSkipsEmptyLines) {
  const auto rows = read(
      "{\"prompt\":\"a\",\"response\":\"b\",\"id\":\"x\"}\n\n"
      "{\"instruction\":\"c\",\"input\":\"d\",\"output\":\"e\"}\r\n"
      "{\"instruction\":\"f\",\"output\":\"g\",\"id\":7}");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].id, "x");
  EXPECT_EQ(user_message(rows[0]), "a");
  EXPECT_EQ(plain_prompt(rows[0]), "a");
  EXPECT_EQ(rows[1].id, "3");
  EXPECT_EQ(user_message(rows[1]), "c\n\nd");
  EXPECT_THAT(plain_prompt(rows[1]), HasSubstr("### Input:\nd\n\n### Response:"));
  EXPECT_EQ(rows[2].id, "7");
  EXPECT_EQ(rows[2].response, "g");
  EXPECT_THAT(plain_prompt(rows[2]), testing::Not(HasSubstr("### Input")));
}

TEST_F(ExamplesTest, NamesTheLineOfABadRow) {
  const std::string good = "{\"prompt\":\"a\",\"response\":\"b\"}\n";
  for (const std::string bad :
       {"{", "[]", "{}", "{\"prompt\":\"a\"}", "{\"prompt\":1,\"response\":\"b\"}",
        "{\"instruction\":\"a\"}", "\xff\xfe"}) {
    EXPECT_THAT(error_of(good + good + bad), HasSubstr("line 3")) << bad;
  }
  EXPECT_THAT(error_of(""), HasSubstr("no rows"));
  EXPECT_THROW(read_examples("/nonexistent/file"), FileError);
  EXPECT_THROW(read_examples(std::filesystem::temp_directory_path()), FileError);
}

TEST_F(ExamplesTest, StopsAtTheLimit) {
  std::ofstream(path_) << "{\"prompt\":\"a\",\"response\":\"b\"}\nbroken";
  EXPECT_EQ(read_examples(path_, 1).size(), 1U);
  EXPECT_THROW(read_examples(path_, 2), FileError);
}

}  // namespace
}  // namespace fathom
