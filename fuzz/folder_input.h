#pragma once

#include <span>
#include <string_view>

#include "formats/test_folder.h"

namespace fathom {

/// Writes an input that holds files one after another, each after a line "@ NAME", into a folder.
/// Names other than `names` are passed over; files of these names that were there before are gone.
void write_files(const TestFolder& folder, std::span<const std::string_view> names,
                 std::string_view input);

}  // namespace fathom
