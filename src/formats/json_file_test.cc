#include "formats/json_file.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "formats/test_folder.h"

namespace fathom {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string parse_error_of(std::string_view text) {
  return error_of<FileError>([&] { return parse_json(text, "config.json"); });
}

TEST(ParseJsonTest, ReadsWhatTheLibraryReads) {
  for (const std::string_view text :
       {R"({"a": [1, -2, 3.5, true, null, "x\u00e9"], "b": {"c": {}}, "d": []})", "[]", "1.5",
        "\"text\"", "  {\"a\": 18446744073709551615}  \n", "\xef\xbb\xbf{}"}) {
    EXPECT_EQ(parse_json(text, "f"), json::parse(text)) << text;
  }
}

TEST(ParseJsonTest, SaysLineAndColumn) {
  EXPECT_THAT(parse_error_of("{\n  \"a\": 1,\n  \"b\": x\n}"),
              HasSubstr("config.json: line 3, column 8: syntax error"));
  EXPECT_THAT(parse_error_of(""), HasSubstr("config.json: line 1, column 1: syntax error"));
  EXPECT_THAT(parse_error_of("{} {}"), HasSubstr("line 1, column 4"));
  EXPECT_THAT(parse_error_of("[1, 2"), HasSubstr("unexpected end of input"));
  EXPECT_THAT(parse_error_of("[NaN]"), HasSubstr("line 1, column 2"));
  EXPECT_THAT(parse_error_of("[1e999]"), HasSubstr("config.json: line 1"));
}

TEST(ParseJsonTest, MessagesAreShortAndPrintable) {
  const std::string message = parse_error_of("[\"" + std::string(100000, 'x') + "\xff\"]");
  EXPECT_LT(message.size(), 400U);
  EXPECT_THAT(parse_error_of("[\"\x1b\"]"), Not(HasSubstr("\x1b")));
  EXPECT_THAT(parse_error_of("{\"a\\u001b\": 1, \"a\\u001b\": 1}"),
              HasSubstr("key 'a\\x1b' is there twice"));
}

TEST(ParseJsonTest, RefusesKeysThatComeTwice) {
  EXPECT_THAT(parse_error_of(R"({"a": 1, "b": 2, "a": 1})"), HasSubstr("key 'a' is there twice"));
  EXPECT_THAT(parse_error_of(R"([{"x": {"y": 1, "y": {}}}])"), HasSubstr("key 'y' is there twice"));
  EXPECT_EQ(parse_error_of(R"([{"x": {"y": 1}, "y": 2}, {"x": 1}])"), "no error");
}

TEST(ParseJsonTest, RefusesDeepNesting) {
  EXPECT_EQ(parse_error_of(std::string(64, '[') + std::string(64, ']')), "no error");
  EXPECT_THAT(parse_error_of(std::string(65, '[') + std::string(65, ']')),
              HasSubstr("nested deeper than 64 levels"));
  EXPECT_THAT(parse_error_of(std::string(1'000'000, '[')), HasSubstr("nested deeper"));
}

TEST(ParseJsonTest, RefusesMoreValuesThanItHasMemoryFor) {
  std::string text = "[0";
  for (int i = 0; i < 8'000'000; ++i) text += ",0";
  EXPECT_THAT(parse_error_of(text), HasSubstr("config.json: more than 8000000 values"));
}

TEST(ReadJsonObjectTest, RefusesOtherFiles) {
  const TestFolder folder;
  EXPECT_EQ(read_json_object(folder.write("good.json", R"({"a": 1})"), 100)["a"], 1);
  EXPECT_THAT(
      error_of<FileError>([&] { return read_json_object(folder.write("array.json", "[1]"), 100); }),
      AllOf(HasSubstr("array.json: an array found, an object expected")));
  EXPECT_THAT(
      error_of<FileError>([&] { return read_json_object(folder.write("big.json", "{}     "), 5); }),
      HasSubstr("big.json: 7 bytes; at most 5"));
  EXPECT_THAT(
      error_of<FileError>([&] { return read_json_object(folder.path() / "absent.json", 5); }),
      HasSubstr("absent.json: cannot open"));
  EXPECT_THAT(error_of<FileError>([&] { return read_json_object(folder.path(), 5); }),
              HasSubstr("not a regular file"));
}

class JsonFieldsTest : public ::testing::Test {
 protected:
  const json object_ = json::parse(R"({
    "zero": 0, "small": 7, "large": 18446744073709551615, "larger": 18446744073709551616,
    "negative": -3, "whole": 2.0, "half": 0.5, "yes": true, "text": "silu", "nothing": null,
    "strings": ["a", "b"], "numbers": [1, 2.5], "ids": [1, 2], "mixed": ["a", 1],
    "inner": {"factor": "x", "deep": {"er": -1}}
  })");
  const JsonFields fields_{"config.json", object_};
};

TEST_F(JsonFieldsTest, ReadsFields) {
  EXPECT_EQ(fields_.require_unsigned("zero"), 0U);
  EXPECT_EQ(fields_.require_unsigned("large"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(fields_.require_unsigned("small", 7), 7U);
  EXPECT_EQ(fields_.require_float("half"), 0.5);
  EXPECT_EQ(fields_.require_float("negative"), -3.0);
  EXPECT_EQ(fields_.require_bool("yes"), true);
  EXPECT_EQ(fields_.require_string("text"), "silu");
  EXPECT_THAT(fields_.find_strings("strings").value(), ElementsAre("a", "b"));
  EXPECT_THAT(fields_.find_floats("numbers").value(), ElementsAre(1, 2.5));
  EXPECT_THAT(fields_.find_one_or_more_unsigned("ids").value(), ElementsAre(1, 2));
  EXPECT_THAT(fields_.find_one_or_more_unsigned("small").value(), ElementsAre(7));
}

TEST_F(JsonFieldsTest, NullAndAbsentAreTheSame) {
  for (const std::string_view key : {"nothing", "absent"}) {
    EXPECT_EQ(fields_.find_unsigned(key), std::nullopt);
    EXPECT_EQ(fields_.find_float(key), std::nullopt);
    EXPECT_EQ(fields_.find_bool(key), std::nullopt);
    EXPECT_EQ(fields_.find_string(key), nullptr);
    EXPECT_EQ(fields_.find_strings(key), std::nullopt);
    EXPECT_EQ(fields_.find_floats(key), std::nullopt);
    EXPECT_EQ(fields_.find_one_or_more_unsigned(key), std::nullopt);
    EXPECT_FALSE(fields_.find_object(key).has_value());
    EXPECT_THAT(
        error_of<FileError>([&] { return fields_.require_unsigned(key); }),
        HasSubstr("config.json: key '" + std::string(key) + "': missing; an integer expected"));
    EXPECT_THAT(error_of<FileError>([&] { return fields_.require_float(key); }),
                HasSubstr("missing"));
    EXPECT_THAT(error_of<FileError>([&] { return fields_.require_bool(key); }),
                HasSubstr("missing"));
    EXPECT_THAT(error_of<FileError>([&] { return fields_.require_string(key); }),
                HasSubstr("missing"));
  }
}

TEST_F(JsonFieldsTest, RefusesOtherIntegers) {
  const auto message = [&](std::string_view key, std::uint64_t most = 1000) {
    return error_of<FileError>([&] { return fields_.require_unsigned(key, most); });
  };
  EXPECT_THAT(message("negative"), HasSubstr("'negative': -3 found, an integer of at least 0"));
  EXPECT_THAT(message("whole"), HasSubstr("'whole': the float 2"));
  EXPECT_THAT(message("half"), HasSubstr("the float 0.5 found"));
  EXPECT_THAT(message("larger"), HasSubstr("the float 1.84"));
  EXPECT_THAT(message("large"), HasSubstr("18446744073709551615 found, at most 1000 expected"));
  EXPECT_THAT(message("small", 6), HasSubstr("7 found, at most 6 expected"));
  EXPECT_THAT(message("yes"), HasSubstr("true found"));
  EXPECT_THAT(message("text"), HasSubstr("the string 'silu' found"));
  EXPECT_THAT(message("ids"), HasSubstr("an array found"));
  EXPECT_THAT(message("inner"), HasSubstr("an object found"));
}

TEST_F(JsonFieldsTest, RefusesOtherTypes) {
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_float("text"); }),
              HasSubstr("a number expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_bool("zero"); }),
              HasSubstr("0 found, true or false expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_string("small"); }),
              HasSubstr("7 found, a string expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_strings("text"); }),
              HasSubstr("an array of strings expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_strings("mixed"); }),
              HasSubstr("1 found, only strings in the array expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_floats("mixed"); }),
              HasSubstr("the string 'a' found, a number expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_floats("half"); }),
              HasSubstr("an array of numbers expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_one_or_more_unsigned("numbers"); }),
              HasSubstr("the float 2.5 found"));
  EXPECT_THAT(error_of<FileError>([&] { return fields_.find_object("ids"); }),
              HasSubstr("an array found, an object expected"));
  EXPECT_THAT(error_of<FileError>([&] { return JsonFields("f", json::array()); }),
              HasSubstr("f: an array found, an object expected"));
}

TEST_F(JsonFieldsTest, RefusesNumbersThatAreNotFinite) {
  const json object{{"nan", std::numeric_limits<double>::quiet_NaN()},
                    {"inf", -std::numeric_limits<double>::infinity()},
                    {"int", -1}};
  const JsonFields fields("f", object);
  EXPECT_THAT(error_of<FileError>([&] { return fields.find_float("nan"); }),
              HasSubstr("a finite number expected"));
  EXPECT_THAT(error_of<FileError>([&] { return fields.find_float("inf"); }),
              HasSubstr("the float -inf found"));
  EXPECT_THAT(error_of<FileError>([&] { return fields.find_unsigned("int"); }),
              HasSubstr("-1 found"));
}

TEST_F(JsonFieldsTest, NamesTheKeysOfInnerObjects) {
  const JsonFields inner = fields_.find_object("inner").value();
  EXPECT_THAT(error_of<FileError>([&] { return inner.find_float("factor"); }),
              HasSubstr("config.json: key 'inner.factor': the string 'x' found"));
  const JsonFields deeper = inner.find_object("deep").value();
  EXPECT_THAT(error_of<FileError>([&] { return deeper.find_unsigned("er"); }),
              HasSubstr("key 'inner.deep.er': -1 found"));
  EXPECT_THAT(error_of<FileError>([&]() -> int { inner.fail("type", "'x' is not known"); }),
              HasSubstr("key 'inner.type': 'x' is not known"));
}

}  // namespace
}  // namespace fathom
