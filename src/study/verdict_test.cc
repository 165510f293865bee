#include "study/verdict.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom {
namespace {

using testing::HasSubstr;

// Differences of this mean that scatter by 0.02.
PairedComparison around(double mean, std::int32_t cost) {
  PairedComparison comparison{.name = "a less b", .cost = cost, .differences = {}};
  for (int i = 0; i < 40; ++i) {
    comparison.differences.push_back(mean + 0.02 * ((i * 7) % 10 - 4.5) / 4.5);
  }
  return comparison;
}

TEST(Verdict, AboveHoldsOnlyIfItDoesEverywhere) {
  const Verdict holds = judge_above("c", "s", {around(0.1, 2), around(0.2, 3)}, 0);
  EXPECT_EQ(holds.outcome, Outcome::holds);
  EXPECT_EQ(holds.claim, "c");
  EXPECT_EQ(holds.source, "s");
  EXPECT_THAT(holds.evidence, HasSubstr("higher at 2-3"));
  EXPECT_THAT(holds.evidence, HasSubstr("+0.100 (cost 2) to +0.200 (cost 3)"));
  EXPECT_THAT(holds.evidence, HasSubstr("40 samples"));
  EXPECT_THAT(holds.evidence, HasSubstr("4 tests"));
  EXPECT_THAT(holds.evidence, HasSubstr("2 of 2"));

  const Verdict open = judge_above("c", "s", {around(0.1, 2), around(0, 3)}, 0);
  EXPECT_EQ(open.outcome, Outcome::cannot_tell);
  EXPECT_THAT(open.evidence, HasSubstr("higher at 2, undecided at 3"));

  const Verdict fails = judge_above("c", "s", {around(0.1, 2), around(0, 3), around(-0.1, 4)}, 0);
  EXPECT_EQ(fails.outcome, Outcome::does_not_hold);
  EXPECT_THAT(fails.evidence, HasSubstr("higher at 2, lower at 4, undecided at 3"));
}

TEST(Verdict, AMarginMustBeExceeded) {
  EXPECT_EQ(judge_above("c", "s", {around(0.2, 2)}, 0.1).outcome, Outcome::holds);
  EXPECT_EQ(judge_above("c", "s", {around(0.1, 2)}, 0.1).outcome, Outcome::cannot_tell);
  EXPECT_EQ(judge_above("c", "s", {around(0.05, 2)}, 0.1).outcome, Outcome::does_not_hold);
}

TEST(Verdict, AlikeNeedsEvidenceToo) {
  EXPECT_EQ(judge_alike("c", "s", {around(0.001, 2)}, 0.02).outcome, Outcome::holds);
  EXPECT_EQ(judge_alike("c", "s", {around(0.02, 2)}, 0.02).outcome, Outcome::cannot_tell);
  EXPECT_EQ(judge_alike("c", "s", {around(0.05, 2)}, 0.02).outcome, Outcome::does_not_hold);
  EXPECT_EQ(judge_alike("c", "s", {around(-0.05, 2)}, 0.02).outcome, Outcome::does_not_hold);
  // Few samples show neither a difference nor that there is none.
  PairedComparison few{.name = "n", .cost = 1, .differences = {0.03, -0.03}};
  EXPECT_EQ(judge_alike("c", "s", {few}, 0.02).outcome, Outcome::cannot_tell);
}

TEST(Verdict, NothingMeasuredCannotTell) {
  EXPECT_EQ(judge_above("c", "s", {}, 0).outcome, Outcome::cannot_tell);
  EXPECT_THAT(judge_alike("c", "s", {}, 0.1).evidence, HasSubstr("measured no cost"));
  EXPECT_EQ(judge_above("c", "s", {{"n", 1, {0.5}}}, 0).outcome, Outcome::cannot_tell);
}

TEST(Verdict, CorrectsForTheNumberOfTests) {
  // One comparison at p near 0.02 is significant alone, not among twenty.
  PairedComparison weak{.name = "n", .cost = 1, .differences = {}};
  for (int i = 0; i < 20; ++i) weak.differences.push_back(0.5 + (i % 2 == 0 ? 1.0 : -1.0));
  EXPECT_EQ(judge_above("c", "s", {weak}, 0).outcome, Outcome::holds);
  EXPECT_EQ(judge_above("c", "s", std::vector<PairedComparison>(20, weak), 0).outcome,
            Outcome::cannot_tell);
}

TEST(Ranges, JoinsNeighbours) {
  EXPECT_EQ(ranges({1, 2, 3, 5, 7, 8}), "1-3, 5, 7-8");
  EXPECT_EQ(ranges({4}), "4");
  EXPECT_EQ(ranges({}), "");
}

}  // namespace
}  // namespace fathom
