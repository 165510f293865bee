#include "data/prompt_template.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"

namespace fathom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string filled(std::string_view text, const nlohmann::json& row) {
  return PromptTemplate::parse(text).fill(JsonFields("rows.jsonl: line 3", row));
}

TEST(PromptTemplate, PutsFieldsIntoTheText) {
  const nlohmann::json row{{"q", "Why?"}, {"a b", "Now.{x}"}, {"n", 3}};
  EXPECT_EQ(filled("Question: {q}\nAnswer:", row), "Question: Why?\nAnswer:");
  EXPECT_EQ(filled("{q}{a b}{q}", row), "Why?Now.{x}Why?");
  EXPECT_EQ(filled("{{q}} {{{q}}}", row), "{q} {Why?}");
  EXPECT_EQ(filled("no field", row), "no field");
  EXPECT_EQ(filled("", row), "");
  EXPECT_EQ(PromptTemplate::of_field("q").fill(JsonFields("", row)), "Why?");
}

TEST(PromptTemplate, NamesTheRowAndTheFieldThatIsNotThere) {
  const nlohmann::json row{{"q", "Why?"}, {"n", 3}};
  EXPECT_THAT(error_of<FileError>([&] { return filled("{q} {r}", row); }),
              AllOf(HasSubstr("rows.jsonl: line 3"), HasSubstr("'r'")));
  EXPECT_THAT(error_of<FileError>([&] { return filled("{n}", row); }),
              AllOf(HasSubstr("rows.jsonl: line 3"), HasSubstr("'n'"), HasSubstr("string")));
}

TEST(PromptTemplate, RefusesBracesThatDoNotMatch) {
  for (const std::string text : {"{", "}", "a {q", "a q} b", "{}", "{q{r}}", "{q}}"}) {
    EXPECT_THAT(error_of<InputError>([&] { return PromptTemplate::parse(text); }),
                HasSubstr("'" + text + "'"))
        << text;
  }
}

}  // namespace
}  // namespace fathom
