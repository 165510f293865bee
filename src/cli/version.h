#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// "1.2.3".
std::string_view version();

/// "fathom 1.2.3", and the kernels that this processor runs.
std::string version_text();

}  // namespace fathom
