#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "formats/tensor_source.h"

namespace fathom {

/// The tensors of one safetensors file, as views of the mapped file, under their names in it. Types
/// F32, F16 and BF16. Throws FileError if the file is damaged or a tensor is of another type (then
/// named).
TensorSource open_safetensors(const std::filesystem::path& path);

/// The same of a file's bytes in memory, which must outlive all copies of the tensors. `origin`
/// names the file in errors.
TensorSource parse_safetensors(std::string origin, std::span<const std::byte> bytes);

/// What the header of a safetensors file says beside the tensors, "__metadata__"; empty if it says
/// nothing. Throws FileError as open_safetensors() does.
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path);

}  // namespace fathom
