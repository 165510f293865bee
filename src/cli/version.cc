#include "cli/version.h"

#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/kernels.h"

namespace fathom {

std::string_view version() { return FATHOM_VERSION; }

std::string version_text() {
  std::vector<std::string_view> names;
  for (const Kernels* const each : available_kernels()) names.push_back(each->name);
  return fmt::format("fathom {} (kernels this machine runs: {})", FATHOM_VERSION,
                     fmt::join(names, ", "));
}

}  // namespace fathom
