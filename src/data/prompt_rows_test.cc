#include "data/prompt_rows.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using testing::HasSubstr;

class PromptRowsTest : public testing::Test {
 protected:
  std::vector<PromptRow> read(const std::string& text) {
    return read_prompt_rows(folder_.write("rows.jsonl", text));
  }
  std::string error_of_text(const std::string& text) {
    return error_of<FileError>([&] { return read(text); });
  }

  TestFolder folder_;
};

TEST_F(PromptRowsTest, ReadsWhatARowSaysAndLeavesTheRestOpen) {
  const auto rows = read(
      R"({"id":"a","prompt":"x","depth":"uniform:8","max_new_tokens":5,"seed":9,"temperature":0.5})"
      "\n\n"
      R"({"prompt":"y","response":"z","depth":null})"
      "\r\n"
      R"({"id":7,"prompt":"","temperature":0})");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].line, 1U);
  EXPECT_EQ(rows[0].id, "a");
  EXPECT_EQ(rows[0].prompt, "x");
  EXPECT_EQ(rows[0].depth, parse_policy("uniform:8"));
  EXPECT_EQ(rows[0].max_new_tokens, 5U);
  EXPECT_EQ(rows[0].seed, 9U);
  EXPECT_EQ(rows[0].temperature, 0.5);
  EXPECT_EQ(rows[1].line, 3U);
  EXPECT_EQ(rows[1].id, "3");
  EXPECT_FALSE(rows[1].depth || rows[1].max_new_tokens || rows[1].seed || rows[1].temperature);
  EXPECT_EQ(rows[2].id, "7");
  EXPECT_EQ(rows[2].prompt, "");
  EXPECT_EQ(rows[2].temperature, 0.0);
}

TEST_F(PromptRowsTest, NamesTheLineAndTheKeyOfABadRow) {
  const std::string good = "{\"id\":\"good\",\"prompt\":\"a\"}\n";
  for (const auto& [bad, key] : std::vector<std::pair<std::string, std::string>>{
           {"{", ""},
           {"[]", "object"},
           {"{}", "prompt"},
           {R"({"prompt":1})", "prompt"},
           {R"({"prompt":"a","depth":"deep"})", "depth"},
           {R"({"prompt":"a","depth":8})", "depth"},
           {R"({"prompt":"a","max_new_tokens":0})", "max_new_tokens"},
           {R"({"prompt":"a","max_new_tokens":1073741825})", "max_new_tokens"},
           {R"({"prompt":"a","max_new_tokens":-1})", "max_new_tokens"},
           {R"({"prompt":"a","max_new_tokens":1.5})", "max_new_tokens"},
           {R"({"prompt":"a","seed":-1})", "seed"},
           {R"({"prompt":"a","seed":9223372036854775808})", "seed"},
           {R"({"prompt":"a","temperature":-0.1})", "temperature"},
           {R"({"prompt":"a","temperature":"hot"})", "temperature"},
           {R"({"prompt":"a","temperature":1e999})", ""},
       }) {
    const std::string error = error_of_text(good + bad);
    EXPECT_THAT(error, HasSubstr("rows.jsonl: line 2")) << bad;
    EXPECT_THAT(error, HasSubstr(key)) << bad;
  }
}

TEST_F(PromptRowsTest, RefusesAnIdThatComesTwice) {
  const std::string error = error_of_text(
      "{\"id\":\"a\",\"prompt\":\"x\"}\n{\"id\":\"b\",\"prompt\":\"x\"}\n\n"
      "{\"id\":\"a\",\"prompt\":\"y\"}\n");
  EXPECT_THAT(error, HasSubstr("line 4"));
  EXPECT_THAT(error, HasSubstr("'a'"));
  EXPECT_THAT(error, HasSubstr("line 1"));
  // Also if one of them is the number of a line.
  EXPECT_THAT(error_of_text("{\"id\":2,\"prompt\":\"x\"}\n{\"prompt\":\"x\"}"), HasSubstr("'2'"));
}

TEST_F(PromptRowsTest, RefusesFilesWithoutRows) {
  EXPECT_THAT(error_of_text("\n\n"), HasSubstr("no rows"));
  EXPECT_THROW(read_prompt_rows("/nonexistent/file"), FileError);
  EXPECT_THROW(read_prompt_rows(folder_.path()), FileError);
}

}  // namespace
}  // namespace fathom
