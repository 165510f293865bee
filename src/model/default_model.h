#pragma once

#include <filesystem>

namespace fathom {

/// Where the default model is, whether or not it is there: $FATHOM_MODEL, else the place in the
/// user's cache folder where tools/fetch_model.sh puts it.
std::filesystem::path default_model_path();

}  // namespace fathom
