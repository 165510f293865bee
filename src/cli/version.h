#pragma once

#include <string>

namespace fathom {

/// "fathom 1.2.3", and the kernels that this processor runs.
std::string version_text();

}  // namespace fathom
