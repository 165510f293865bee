#include "nn/parameters.h"

#include <ATen/ops/empty.h>

#include "base/mapped_file.h"
#include "formats/dequantize.h"

namespace fathom {

at::Tensor read_tensor(const TensorView& view) {
  const std::vector<std::int64_t> shape(view.shape.begin(), view.shape.end());
  at::Tensor tensor = at::empty(shape, at::kFloat);
  dequantize(view.type, view.bytes, {tensor.data_ptr<float>(), view.elements()});
  return tensor;
}

const at::Tensor& Parameters::stored(const TensorView& view) {
  const auto found = tensors_.find(view.name);
  if (found != tensors_.end()) return found->second;
  const TensorView& whole = *source_.find(view.name);
  at::Tensor tensor = read_tensor(whole).to(device_, type_);
  // The file's pages have been read for the last time; keeping them would double the memory.
  release_resident(whole.bytes);
  return tensors_.emplace(view.name, std::move(tensor)).first->second;
}

}  // namespace fathom
