#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "depth/route.h"

namespace fathom {

/// Which layers a model keeps at each number of layers run, as a search found them. The routes need
/// not be nested: a layer that one of them runs a longer one may skip. A value.
class Ranking {
 public:
  /// Routes of a model of `depth` layers, in any order, at most one for each cost. The full route
  /// need not be among them. Throws InputError if one is of another depth or two cost the same.
  Ranking(std::int32_t depth, std::vector<Route> routes);

  [[nodiscard]] std::int32_t depth() const { return depth_; }
  /// The layers kept where `cost` run. Throws InputError that says which costs there are.
  [[nodiscard]] const Route& route(std::int32_t cost) const;

 private:
  std::int32_t depth_;
  std::map<std::int32_t, Route> routes_;  // by cost
};

}  // namespace fathom
