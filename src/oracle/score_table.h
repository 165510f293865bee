#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "oracle/knapsack.h"

namespace fathom {

/// What a choice costs a sample.
enum class CostUnit {
  layers,        ///< layers a token, the same for every sample
  layer_tokens,  ///< tokens that were generated x layers
  seconds,       ///< tokens that were generated x what a step takes at that depth
};

/// Scores of n samples at K depths, ascending in layers.
struct ScoreTable {
  std::vector<std::string> depths;  ///< as the columns are named: "4", "8"
  std::vector<double> layers;       ///< by depth
  CostUnit unit = CostUnit::layers;
  ChoiceTable choices;               ///< a choice is a depth
  std::vector<double> label_tokens;  ///< by sample; empty if not known

  [[nodiscard]] std::size_t samples() const { return choices.samples(); }
  [[nodiscard]] double quality(std::size_t sample, std::size_t depth) const {
    return choices.quality[sample * choices.choices + depth];
  }
  [[nodiscard]] double cost(std::size_t sample, std::size_t depth) const {
    return choices.cost[sample * choices.choices + depth];
  }
};

/// Reads a CSV file [RFC 4180] whose header is "id", one column for each depth, named by its number
/// of layers, and optionally "label_tokens" and for every depth "tokens_DEPTH", in any order. With
/// the latter a choice costs tokens x layers, otherwise layers. Throws FileError that names row and
/// column for what is missing, no finite number, negative where that makes no sense, or one too
/// many.
ScoreTable read_scores(const std::filesystem::path& path);

/// The mean quality and the mean cost if every sample runs at that depth.
double mean_quality(const ScoreTable& table, std::size_t depth);
double mean_cost(const ScoreTable& table, std::size_t depth);

/// The greedy oracle [Glavas24 eq. 4]: by depth, the mean of each sample's best quality at that
/// depth or fewer layers.
std::vector<double> greedy_oracle(const ScoreTable& table);

/// Bins of label length [Glavas24 A.5.2]: 15 tokens wide, the eleventh for more than 150.
inline constexpr std::size_t length_bins = 11;
std::size_t length_bin(double label_tokens);

/// How many samples of each length bin have each depth: [bin][depth]. The table has label tokens.
std::vector<std::vector<std::uint64_t>> depths_by_length(const ScoreTable& table,
                                                         std::span<const std::uint32_t> depths);

}  // namespace fathom
