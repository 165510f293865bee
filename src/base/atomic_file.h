#pragma once

#include <filesystem>
#include <string_view>

namespace fathom {

/// Writes a file aside, syncs it and renames it into place: whoever looks sees the old file or the
/// whole new one, also after a kill. Throws FileError if that fails; the old file is then as it
/// was.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace fathom
