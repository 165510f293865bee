#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace fathom {

/// What the first bytes of a file look like, for messages about a file of the wrong kind: "a
/// safetensors file", "an empty file", or the bytes themselves if nothing known fits.
std::string describe_file_kind(std::span<const std::byte> bytes);

}  // namespace fathom
