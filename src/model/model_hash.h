#pragma once

#include <filesystem>
#include <string>

namespace fathom {

/// What identifies a model, wherever it lies: the SHA-256 of a GGUF file, or of a folder the
/// SHA-256 of what `sha256sum` prints for its .json, .safetensors, .bin, .txt and .model files in
/// the order of their names' bytes. Reads all of them. Throws FileError if one cannot be read.
std::string model_sha256(const std::filesystem::path& path);

}  // namespace fathom
