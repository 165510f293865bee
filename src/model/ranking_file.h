#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "depth/ranking.h"
#include "depth/route.h"

namespace fathom {

/// A mean with its 95% interval, as a ranking's file states it.
struct RankedNll {
  double mean = 0, low = 0, high = 0;
};

/// A route that a search found for its cost.
struct RankedRoute {
  Route route;
  std::string method;            ///< which search found it: "elimination", "beam"
  std::optional<RankedNll> nll;  ///< on rows that the search did not see
};

/// A ranking with where it comes from: what `fathom study layers` writes and `ranked:K` reads.
struct RankingFile {
  std::string model_name, model_sha256;
  std::int32_t layers = 0;
  std::string data_name, data_sha256;
  std::uint64_t searched_rows = 0, held_out_rows = 0;
  std::uint64_t seed = 0;
  std::string fathom;                  ///< version
  std::optional<RankedNll> full_nll;   ///< on the rows that the search did not see
  std::vector<LayerIndex> eliminated;  ///< in the order of backward elimination
  std::vector<RankedRoute> routes;     ///< ascending cost, at most one for each

  [[nodiscard]] Ranking ranking() const;
};

/// docs/studies.md describes the file.
nlohmann::ordered_json to_json(const RankingFile& ranking);
/// Throws FileError (`file`, place, found and expected) if the text is no ranking.
RankingFile parse_ranking(std::string_view text, std::string_view file);
/// The same of a file, which may have up to 16 MB.
RankingFile read_ranking(const std::filesystem::path& path);

/// The ranking that fathom carries for the model of this hash, if it does: models/ has them.
std::optional<RankingFile> shipped_ranking(std::string_view model_sha256);

}  // namespace fathom
