#pragma once

#include <filesystem>
#include <functional>

namespace fathom {

/// Replaces a folder as a whole: `write` fills FOLDER.new, whose files it has to sync; then the old
/// folder becomes FOLDER.old, the new one takes the name, and the old one goes. At every moment
/// FOLDER or FOLDER.old is whole. Throws FileError if the disk does not let it; the folder is then
/// as it was, and so it is if `write` throws.
void replace_folder(const std::filesystem::path& folder,
                    const std::function<void(const std::filesystem::path& aside)>& write);

/// Whether there is a folder that replace_folder() finished, after a kill at any moment of it, too:
/// if only FOLDER.old is there it gets its name back. Throws FileError if that fails.
bool recover_folder(const std::filesystem::path& folder);

}  // namespace fathom
