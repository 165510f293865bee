#include "train/row_share.h"

namespace fathom {

std::vector<std::size_t> row_share(std::span<const std::size_t> rows, const Ranks& ranks) {
  std::vector<std::size_t> share;
  for (std::size_t i = ranks.rank(); i < rows.size(); i += ranks.size()) share.push_back(rows[i]);
  return share;
}

}  // namespace fathom
