#pragma once

#include <filesystem>
#include <span>

#include "formats/tensor_source.h"
#include "model/model_files.h"

namespace fathom {

/// Writes a model with new weights, in float32 and under the names that they are stored under, as
/// `path`: a Hugging Face folder if the model came from one, else a GGUF file. Throws FileError.
void write_trained_model(const std::filesystem::path& path, const ModelFiles& model,
                         std::span<const TensorView> weights);

}  // namespace fathom
