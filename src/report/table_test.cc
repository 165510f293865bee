#include "report/table.h"

#include <stdexcept>

#include <gtest/gtest.h>

#include "base/error_of.h"

namespace fathom {
namespace {

TEST(Csv, QuotesOnlyWhatHasToBe) {
  const Table table{
      {"policy", "cost, layers"},
      {{"uniform", "20"}, {"says \"no\"", " kept "}, {"two\nlines", "a\rb"}, {"", "−0.5; naïve"}}};
  EXPECT_EQ(to_csv(table),
            "policy,\"cost, layers\"\n"
            "uniform,20\n"
            "\"says \"\"no\"\"\", kept \n"
            "\"two\nlines\",\"a\rb\"\n"
            ",−0.5; naïve\n");
}

TEST(Csv, HasItsHeaderWithoutRows) { EXPECT_EQ(to_csv({{"a", "b"}, {}}), "a,b\n"); }

TEST(Csv, WritesNoEmptyLineForAnEmptyCell) {
  EXPECT_EQ(to_csv({{"a"}, {{""}, {"1"}}}), "a\n\"\"\n1\n");
}

TEST(Csv, RefusesRaggedRows) {
  const Table ragged{{"a", "b"}, {{"1", "2"}, {"3"}}};
  EXPECT_EQ(error_of<std::invalid_argument>([&] { return to_csv(ragged); }),
            "a table has 2 columns, but its row 1 has 1 cells");
}

}  // namespace
}  // namespace fathom
