#include "oracle/sampling_advantage.h"

#include <array>
#include <cmath>
#include <stdexcept>

#include <gmock/gmock.h>

#include "base/random.h"

namespace fathom {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

constexpr std::array<double, 4> layers{4, 8, 12, 24};

// Scores that vary around what each sample's difficulty makes of each choice. `specific` is how far
// samples differ in what choices are worth to them.
ChoiceTable draw(std::uint64_t seed, std::uint64_t draw_number, std::size_t n, double specific) {
  RandomStream truth({.seed = seed, .sequence = 1});
  RandomStream noise({.seed = seed, .sequence = 2 + draw_number});
  ChoiceTable table{.choices = layers.size(), .quality = {}, .cost = {}};
  for (std::size_t s = 0; s < n; ++s) {
    const double easy = truth.uniform();
    for (const double cost : layers) {
      const double worth = specific * (truth.uniform() - 0.5);
      table.quality.push_back(0.5 * easy + worth + 0.3 * noise.uniform() * easy);
      table.cost.push_back(cost);
    }
  }
  return table;
}

TEST(StaticMixture, IsOnTheUpperHullOfTheMeans) {
  const ChoiceTable table{.choices = 4,
                          .quality = {0, 0.05, 0.4, 1, 0.2, 0.25, 0.6, 1},
                          .cost = {4, 8, 12, 24, 4, 8, 12, 24}};
  EXPECT_THAT(static_mixture(table, 4), ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(static_mixture(table, 3), ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(static_mixture(table, 8),
              ElementsAre(DoubleNear(0.5, 1e-12), 0, DoubleNear(0.5, 1e-12), 0));
  EXPECT_THAT(static_mixture(table, 15),
              ElementsAre(0, 0, DoubleNear(0.75, 1e-12), DoubleNear(0.25, 1e-12)));
  EXPECT_THAT(static_mixture(table, 30), ElementsAre(0, 0, 0, 1));
}

// Four independent draws of one model: nothing is gained by allocation, though much seems to be.
TEST(SplitAdvantage, OfOneModelUnderFourNamesHoldsZero) {
  int held = 0;
  constexpr int rounds = 1000;
  for (int round = 0; round < rounds; ++round) {
    const auto seed = static_cast<std::uint64_t>(round);
    const SamplingAdvantage advantage =
        split_advantage(draw(seed, 0, 200, 0), draw(seed, 1, 200, 0), 8);
    EXPECT_GT(advantage.gain, 0.03);
    EXPECT_NEAR(advantage.gain, advantage.sampling + advantage.allocation.estimate, 1e-12);
    held += advantage.allocation.low <= 0 && 0 <= advantage.allocation.high ? 1 : 0;
  }
  EXPECT_GE(held, 930);
}

TEST(SplitAdvantage, FindsWhatIsThere) {
  // Without noise everything that is gained holds on other draws.
  const ChoiceTable table = draw(1, 0, 300, 0.4);
  const SamplingAdvantage exact = split_advantage(table, table, 12);
  EXPECT_NEAR(exact.sampling, 0, 1e-12);
  EXPECT_GT(exact.allocation.estimate, 0.05);
  // With noise, less: the truth is what the choices made on draws gain in expectation.
  const SamplingAdvantage noisy = split_advantage(draw(2, 0, 2000, 0.4), draw(2, 1, 2000, 0.4), 12);
  EXPECT_GT(noisy.allocation.low, 0);
  EXPECT_GT(noisy.sampling, 0);
}

// How often the interval of scores that `table` draws holds 0.
template <class Draw>
int permuted_holds_zero(int rounds, double budget, const Draw& table) {
  int held = 0;
  for (int round = 0; round < rounds; ++round) {
    const SamplingAdvantage advantage =
        permuted_advantage(table(static_cast<std::uint64_t>(round)), budget);
    EXPECT_NEAR(advantage.gain, advantage.sampling + advantage.allocation.estimate, 1e-12);
    held += advantage.allocation.low <= 0 && 0 <= advantage.allocation.high ? 1 : 0;
  }
  return held;
}

TEST(PermutedAdvantage, OfOneModelUnderFourNamesHoldsZero) {
  for (const double budget : {6.0, 8.0, 16.0}) {
    const int held =
        permuted_holds_zero(1000, budget, [](std::uint64_t seed) { return draw(seed, 0, 200, 0); });
    EXPECT_GE(held, 930);
  }
}

// Scores of samples whose choices differ by what `worth` says, of difficulty and choice.
template <class Worth>
ChoiceTable worth_by_difficulty(std::uint64_t seed, std::size_t n, const Worth& worth) {
  RandomStream random({.seed = seed, .sequence = 9});
  ChoiceTable table{.choices = layers.size(), .quality = {}, .cost = {}};
  for (std::size_t s = 0; s < n; ++s) {
    const double difficulty = random.uniform();
    for (std::size_t k = 0; k < layers.size(); ++k) {
      table.quality.push_back(worth(difficulty, k) + 0.1 * random.uniform());
      table.cost.push_back(layers[k]);
    }
  }
  return table;
}

TEST(PermutedAdvantage, FindsWhatTheMeanScoreTells) {
  // Depth is worth something to difficult samples alone, whose scores are low.
  const ChoiceTable table = worth_by_difficulty(1, 2000, [](double difficulty, std::size_t k) {
    return 1 - difficulty + 0.1 * difficulty * static_cast<double>(k);
  });
  const SamplingAdvantage advantage = permuted_advantage(table, 12);
  EXPECT_GT(advantage.allocation.low, 0.01);
  EXPECT_GT(advantage.sampling, 0);
}

// Its limits, as its documentation states them.
TEST(PermutedAdvantage, SeesNothingBeyondTheMeanScore) {
  // Each sample has a depth of its own that suits it; all have the same mean.
  const auto suits = [](double difficulty, std::size_t k) {
    return static_cast<std::size_t>(difficulty * 4) == k ? 0.5 : 0.0;
  };
  const SamplingAdvantage advantage = permuted_advantage(worth_by_difficulty(2, 2000, suits), 12);
  EXPECT_GT(advantage.gain, 0.1);
  EXPECT_NEAR(advantage.allocation.estimate, 0, 0.02);
  const SamplingAdvantage split =
      split_advantage(worth_by_difficulty(2, 2000, suits), worth_by_difficulty(2, 2000, suits), 12);
  EXPECT_GT(split.allocation.estimate, 0.1);
}

TEST(PermutedAdvantage, FewSamplesAreOneGroup) {
  for (const std::size_t n : {1U, 2U, 39U}) {
    const SamplingAdvantage advantage = permuted_advantage(draw(1, 0, n, 0.4), 12);
    EXPECT_EQ(advantage.allocation.estimate, 0) << n;
  }
  EXPECT_NE(permuted_advantage(draw(1, 0, 40, 0.4), 12).allocation.estimate, 0);
}

TEST(PermutedAdvantage, TakesLuckThatIsGreaterAtOneChoiceForAllocation) {
  // All choices are worth the same to every sample; the scores of the dearest vary most.
  RandomStream random({.sequence = 9});
  ChoiceTable table{.choices = layers.size(), .quality = {}, .cost = {}};
  for (std::size_t s = 0; s < 5000; ++s) {
    const double easy = random.uniform();
    for (const double cost : layers) {
      table.quality.push_back(0.3 * easy + (cost == 24 ? 0.6 : 0.1) * (random.uniform() - 0.5));
      table.cost.push_back(cost);
    }
  }
  EXPECT_GT(permuted_advantage(table, 12).allocation.low, 0);
}

TEST(SplitAdvantage, RefusesTablesOfDifferentSize) {
  EXPECT_THROW(static_cast<void>(split_advantage(draw(1, 0, 3, 0), draw(1, 1, 4, 0), 8)),
               std::invalid_argument);
}

}  // namespace
}  // namespace fathom
