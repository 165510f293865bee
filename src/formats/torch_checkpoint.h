#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "formats/tensor_source.h"

namespace fathom {

/// The tensors of a PyTorch checkpoint: a state dict as torch.save writes it since PyTorch 1.6, a
/// zip archive with a pickle and the bytes of the tensors. They are views of the mapped file, under
/// their keys in the state dict, which is what was saved or lies in what was saved under
/// "state_dict" or "model". Tensors that share their bytes (tied weights) share them here. Types
/// float32, float16 and bfloat16; those of another type and views with gaps or another order of
/// their dimensions are `refused` ones. Nothing in the file is run.
///
/// Throws FileError if the file is damaged, of another kind or in the format from before PyTorch
/// 1.6, or if its pickle does anything but describe tensors (see formats/pickle.h).
TensorSource open_torch_checkpoint(const std::filesystem::path& path);

/// The same of a file's bytes in memory, which must outlive all copies of the tensors. `origin`
/// names the file in errors.
TensorSource parse_torch_checkpoint(std::string origin, std::span<const std::byte> bytes);

}  // namespace fathom
