#pragma once

#include <filesystem>
#include <span>

#include <nlohmann/json_fwd.hpp>

#include "formats/tensor_source.h"

namespace fathom {

/// Writes tensors of types F32, F16 and BF16 as a safetensors file, which takes its name only when
/// it is whole. `metadata` is an object of strings, which the file's header carries. Throws
/// FileError if the file cannot be written or the disk has no room for it; what had the name before
/// is then as it was. Any other type, or a name that stands twice, is a std::invalid_argument.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const nlohmann::ordered_json& metadata);

}  // namespace fathom
