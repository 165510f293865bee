#include "data/examples.h"

#include <filesystem>
#include <fstream>
#include <set>
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

TEST_F(ExamplesTest, RowsWithoutAnIdGoByTheirLine) {
  const auto rows = read(
      "{\"prompt\":\"a\",\"response\":\"b\",\"id\":null}\n\n"
      "{\"prompt\":\"a\",\"response\":\"b\"}\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].id, "1");
  EXPECT_EQ(rows[1].id, "3");
}

TEST_F(ExamplesTest, ReadsDollysNamesLikeAlpacas) {
  const auto rows = read(
      "{\"instruction\":\"a\",\"context\":\"b\",\"response\":\"c\",\"category\":\"d\"}\n"
      "{\"instruction\":\"a\",\"input\":\"b\",\"output\":\"c\"}\n"
      "{\"instruction\":\"a\",\"context\":\"\",\"response\":\"c\"}\n"
      "{\"instruction\":\"a\",\"input\":\"b\",\"response\":\"c\"}");
  ASSERT_EQ(rows.size(), 4U);
  for (const std::size_t i : {0U, 3U}) {
    EXPECT_EQ(rows[i].kind, ExampleKind::alpaca);
    EXPECT_EQ(user_message(rows[i]), user_message(rows[1]));
    EXPECT_EQ(plain_prompt(rows[i]), plain_prompt(rows[1]));
    EXPECT_EQ(rows[i].response, "c");
  }
  EXPECT_EQ(user_message(rows[2]), "a");
  EXPECT_THAT(plain_prompt(rows[2]), testing::Not(HasSubstr("### Input")));
}

TEST_F(ExamplesTest, ReadsArticles) {
  const auto rows = read(
      "{\"id\":\"x\",\"article\":\"It rained.\\nIt stopped.\",\"highlights\":\"Rain .\\nSun .\"}\n"
      "{\"prompt\":\"a\",\"response\":\"b\"}\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].kind, ExampleKind::article);
  EXPECT_EQ(rows[0].id, "x");
  EXPECT_EQ(rows[0].response, "Rain .\nSun .");
  EXPECT_EQ(user_message(rows[0]),
            "Summarize the following article in a few short sentences.\n\nIt rained.\nIt stopped.");
  EXPECT_EQ(plain_prompt(rows[0]), "### Article:\nIt rained.\nIt stopped.\n\n### Summary:");
  EXPECT_EQ(rows[1].kind, ExampleKind::plain);
}

TEST_F(ExamplesTest, SaysWhichShapesItReads) {
  const std::string error = error_of("{\"text\":\"a\"}");
  for (const char* const shape :
       {"{prompt, response}", "{instruction, input, output}", "{instruction, context, response}",
        "{id, article, highlights}"}) {
    EXPECT_THAT(error, HasSubstr(shape));
  }
  const std::string no_answer = error_of("{\"instruction\":\"a\",\"output\":null}");
  EXPECT_THAT(no_answer, HasSubstr("'output'"));
  EXPECT_THAT(no_answer, HasSubstr("'response'"));
  EXPECT_THAT(error_of("{\"article\":\"a\",\"id\":\"x\"}"), HasSubstr("highlights"));
}

TEST_F(ExamplesTest, NamesTheLineOfABadRow) {
  const std::string good = "{\"prompt\":\"a\",\"response\":\"b\"}\n";
  for (const std::string bad :
       {"{", "[]", "{}", "{\"prompt\":\"a\"}", "{\"prompt\":1,\"response\":\"b\"}",
        "{\"instruction\":\"a\"}", "{\"instruction\":\"a\",\"response\":1}",
        "{\"instruction\":\"a\",\"context\":2,\"response\":\"b\"}", "{\"article\":\"a\"}",
        "{\"article\":[],\"highlights\":\"b\"}", "\xff\xfe"}) {
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

TEST(Prompts, AreWholeAndHaveIdsOfTheirOwn) {
  const auto rows = read_examples(FATHOM_SOURCE_DIR "/data/prompts.jsonl");
  EXPECT_EQ(rows.size(), 64U);
  std::set<std::string> ids;
  for (const Example& row : rows) {
    EXPECT_EQ(row.kind, ExampleKind::plain) << row.id;
    EXPECT_FALSE(row.instruction.empty()) << row.id;
    EXPECT_FALSE(row.response.empty()) << row.id;
    ids.insert(row.id);
  }
  EXPECT_EQ(ids.size(), rows.size());
}

TEST_F(ExamplesTest, ReadsFieldsOfAnyName) {
  std::ofstream(path_, std::ios::binary)
      << "{\"question\":\"a\",\"prompt\":7,\"hint\":\"b\",\"answer\":\"c\"}\n\n"
         "{\"id\":\"x\",\"question\":\"d\",\"hint\":\"\",\"answer\":\"e\"}\n"
         "{\"question\":\"f\",\"hint\":\"g\",\"answer\":[]}\n";
  const ExampleFields fields{.prompt = PromptTemplate::parse("{question} ({hint})"),
                             .response = "answer"};
  const auto rows = read_examples(path_, fields, 2);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].kind, ExampleKind::plain);
  EXPECT_EQ(rows[0].id, "1");
  EXPECT_EQ(user_message(rows[0]), "a (b)");
  EXPECT_EQ(plain_prompt(rows[0]), "a (b)");
  EXPECT_EQ(rows[0].response, "c");
  EXPECT_EQ(rows[1].id, "x");
  EXPECT_EQ(plain_prompt(rows[1]), "d ()");
  try {
    (void)read_examples(path_, fields);
    FAIL() << "no error";
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr(path_.string() + ": line 4"));
    EXPECT_THAT(error.what(), HasSubstr("'answer'"));
  }
}

}  // namespace
}  // namespace fathom
