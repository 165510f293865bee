#pragma once

#include <cstddef>
#include <string>

#include "cli/json_output.h"
#include "engine/profile.h"

namespace fathom {

/// Where the time of some passes of one kind went.
struct ProfiledPasses {
  std::string depth;  ///< the policy
  std::string phase;  ///< "decode" or "prefill"
  std::size_t passes = 0;
  double seconds = 0;  ///< of all passes, by the clock
  Profile profile;
};

void print_profile(const ProfiledPasses& profiled);
Json profile_json(const ProfiledPasses& profiled);

}  // namespace fathom
