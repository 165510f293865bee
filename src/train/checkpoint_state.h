#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace fathom {

/// Writes what a checkpoint's folder holds beside tensors, state.json: how many steps were taken,
/// and of what training. Throws FileError.
void write_checkpoint_state(const std::filesystem::path& folder, std::uint64_t steps,
                            const std::string& description);

/// The steps of a checkpoint. Throws FileError if its state.json is missing or damaged, or is of a
/// training that was described otherwise.
std::uint64_t read_checkpoint_state(const std::filesystem::path& folder,
                                    const std::string& description);

}  // namespace fathom
