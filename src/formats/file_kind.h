#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace fathom {

/// What the first bytes of a file look like, for messages about a file of the wrong kind: "a
/// safetensors file", "an empty file", or the bytes themselves if nothing known fits.
std::string describe_file_kind(std::span<const std::byte> bytes);

/// Whether a file begins as torch.save wrote them before PyTorch 1.6: several pickles, no archive.
bool is_legacy_torch_checkpoint(std::span<const std::byte> bytes);

}  // namespace fathom
