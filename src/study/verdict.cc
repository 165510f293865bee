#include "study/verdict.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "metrics/holm.h"
#include "metrics/mean_error.h"
#include "metrics/paired_tests.h"

namespace fathom {
namespace {

// What the tests say of one comparison.
enum class Finding { supports, contradicts, undecided };

struct Tested {
  const PairedComparison* comparison;
  double mean;
  Finding finding = Finding::undecided;
};

// The p-values of a claim about some differences and of its contrary.
struct PValues {
  double for_claim;
  double against_claim;
};
using ClaimTest = std::function<PValues(const std::vector<double>&)>;

std::vector<double> less(const std::vector<double>& differences, double margin) {
  std::vector<double> shifted(differences);
  for (double& difference : shifted) difference -= margin;
  return shifted;
}

// What a test finds in each comparison, with Holm's correction over the tests of both sides.
std::vector<Finding> decide(const std::vector<PairedComparison>& comparisons,
                            const ClaimTest& test) {
  std::vector<double> p_values;
  for (const PairedComparison& comparison : comparisons) {
    const PValues p = test(comparison.differences);
    p_values.push_back(p.for_claim);
    p_values.push_back(p.against_claim);
  }
  const std::vector<double> adjusted = holm(p_values);
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    findings.push_back(adjusted[2 * i] < significance_level       ? Finding::supports
                       : adjusted[2 * i + 1] < significance_level ? Finding::contradicts
                                                                  : Finding::undecided);
  }
  return findings;
}

Outcome outcome_of(const std::vector<Tested>& tested) {
  const auto is = [](Finding finding) {
    return [finding](const Tested& each) { return each.finding == finding; };
  };
  if (std::any_of(tested.begin(), tested.end(), is(Finding::contradicts))) {
    return Outcome::does_not_hold;
  }
  return std::all_of(tested.begin(), tested.end(), is(Finding::supports)) && !tested.empty()
             ? Outcome::holds
             : Outcome::cannot_tell;
}

struct Words {
  std::string supports, contradicts, undecided;
};

// "final similarity, uniform skipping against early exit: higher at 14-29, lower at 2-9, undecided
// at 10-13; mean difference from -0.310 (cost 5) to +0.220 (cost 28)"
std::string findings_text(const std::vector<Tested>& tested, const Words& words) {
  std::vector<std::string> names;
  for (const Tested& each : tested) {
    if (std::find(names.begin(), names.end(), each.comparison->name) == names.end()) {
      names.push_back(each.comparison->name);
    }
  }
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    std::map<Finding, std::vector<std::int32_t>> costs;
    const Tested* lowest = nullptr;
    const Tested* highest = nullptr;
    for (const Tested& each : tested) {
      if (each.comparison->name != name) continue;
      costs[each.finding].push_back(each.comparison->cost);
      if (lowest == nullptr || each.mean < lowest->mean) lowest = &each;
      if (highest == nullptr || each.mean > highest->mean) highest = &each;
    }
    std::vector<std::string> where;
    for (const auto& [finding, word] : {std::pair{Finding::supports, words.supports},
                                        std::pair{Finding::contradicts, words.contradicts},
                                        std::pair{Finding::undecided, words.undecided}}) {
      if (costs.contains(finding)) {
        where.push_back(fmt::format("{} at {}", word, ranges(costs[finding])));
      }
    }
    const std::string spread =
        lowest == highest
            ? fmt::format("mean difference {:+.3f}", lowest->mean)
            : fmt::format("mean difference from {:+.3f} (cost {}) to {:+.3f} (cost {})",
                          lowest->mean, lowest->comparison->cost, highest->mean,
                          highest->comparison->cost);
    parts.push_back(fmt::format("{}: {}; {}", name, fmt::join(where, ", "), spread));
  }
  return fmt::format("{}", fmt::join(parts, ". "));
}

// A claim with the test that decides on it.
struct Claim {
  std::string text, source;
  Words words;
  std::string_view test_name;
  ClaimTest test;
};

Verdict judge(const Claim& claim, const std::vector<PairedComparison>& comparisons) {
  Verdict verdict{.claim = claim.text, .source = claim.source, .evidence = {}};
  if (comparisons.empty()) {
    verdict.evidence = "This run measured no cost at which the claim could be tested.";
    return verdict;
  }
  const std::vector<Finding> findings = decide(comparisons, claim.test);
  std::vector<Tested> tested;
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    tested.push_back({.comparison = &comparisons[i],
                      .mean = mean_and_error(comparisons[i].differences).mean,
                      .finding = findings[i]});
  }
  verdict.outcome = outcome_of(tested);
  verdict.evidence =
      fmt::format("{}. {}, {} samples, Holm's correction over {} tests, level {}.",
                  findings_text(tested, claim.words), claim.test_name,
                  comparisons.front().differences.size(), 2 * tested.size(), significance_level);
  return verdict;
}

}  // namespace

std::string ranges(const std::vector<std::int32_t>& numbers) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < numbers.size(); ++begin) {
    std::size_t end = begin;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    parts.push_back(begin == end ? fmt::format("{}", numbers[begin])
                                 : fmt::format("{}-{}", numbers[begin], numbers[end]));
    begin = end;
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

Verdict judge_above(std::string claim, std::string source,
                    const std::vector<PairedComparison>& comparisons, double margin) {
  const auto test = [margin](const auto& paired_test) {
    return [margin, paired_test](const std::vector<double>& differences) {
      const std::vector<double> excess = less(differences, margin);
      return PValues{paired_test(excess, Alternative::greater).p_value,
                     paired_test(excess, Alternative::less).p_value};
    };
  };
  Verdict verdict =
      judge({.text = std::move(claim),
             .source = std::move(source),
             .words = margin == 0 ? Words{"higher", "lower", "undecided"}
                                  : Words{fmt::format("higher by more than {}", margin),
                                          fmt::format("not higher by {}", margin), "undecided"},
             .test_name = "Paired t tests",
             .test = test(paired_t_test)},
            comparisons);
  if (comparisons.empty()) return verdict;
  // The t test leans on the mean being near normal; ranks do not.
  const std::vector<Finding> by_t = decide(comparisons, test(paired_t_test));
  const std::vector<Finding> by_rank = decide(comparisons, test(wilcoxon_signed_rank));
  const auto same = std::inner_product(by_t.begin(), by_t.end(), by_rank.begin(), std::size_t{0},
                                       std::plus<>(), std::equal_to<>());
  verdict.evidence += fmt::format(" Wilcoxon's signed-rank tests find the same in {} of {}.", same,
                                  comparisons.size());
  return verdict;
}

Verdict judge_alike(std::string claim, std::string source,
                    const std::vector<PairedComparison>& comparisons, double margin) {
  return judge({.text = std::move(claim),
                .source = std::move(source),
                .words = {fmt::format("alike within {}", margin),
                          fmt::format("apart by more than {}", margin), "undecided"},
                .test_name = "Two one-sided paired t tests",
                .test =
                    [margin](const std::vector<double>& differences) {
                      const double above =
                          paired_t_test(less(differences, margin), Alternative::greater).p_value;
                      const double below =
                          paired_t_test(less(differences, -margin), Alternative::less).p_value;
                      return PValues{paired_tost(differences, margin),
                                     std::min(1.0, 2 * std::min(above, below))};
                    }},
               comparisons);
}

}  // namespace fathom
