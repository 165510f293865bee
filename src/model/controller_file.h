#pragma once

#include <filesystem>
#include <string>

#include "base/strong_types.h"
#include "depth/skip_controllers.h"
#include "model/model_config.h"

namespace fathom {

/// What a layer's gate is called in a file: its map [2][width] and bias [2], to execute the layer
/// and to skip it.
std::string gate_weight_name(LayerIndex layer);
std::string gate_bias_name(LayerIndex layer);

/// A file of skip controllers, as `train controllers` writes it and `controller:FILE` reads it:
/// safetensors with, for each layer but the first and the last, "layers.N.gate.weight" [2][width]
/// and "layers.N.gate.bias" [2], N from 0, to execute and to skip it; the rest is metadata.
struct ControllerFile {
  SkipControllers controllers;
  double alpha = 0;          ///< weight of the cost in the loss that they were trained with
  std::string model_sha256;  ///< of the model that the training started from, as model_sha256()
};

/// Reads all of it. Throws FileError naming the tensor or key if something is missing, damaged, not
/// finite, of another shape than the others, or not of this format.
ControllerFile read_controllers(const std::filesystem::path& path);

/// The same, and throws FileError if the model has another number of layers or another width. Its
/// hash is not compared: a model in another number format may use the controllers of its twin.
ControllerFile read_controllers_of(const std::filesystem::path& path, const ModelConfig& model);

/// Writes a file that read_controllers() reads, in float32. Throws FileError if that fails.
void write_controllers(const std::filesystem::path& path, const ControllerFile& file);

}  // namespace fathom
