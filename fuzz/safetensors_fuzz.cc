// A safetensors file.

#include <vector>

#include "formats/dequantize.h"
#include "formats/safetensors.h"
#include "fuzz/target.h"

namespace fathom {

Refusals run_target(std::span<const std::byte> input) {
  const std::string origin = "model.safetensors";
  Refusals refusals;
  run_refusable(refusals, origin, [&] {
    const TensorSource source = parse_safetensors(origin, input);
    std::vector<float> elements;
    for (const auto& [name, tensor] : source.tensors()) {
      elements.resize(tensor.elements());
      dequantize(tensor.type, tensor.bytes, elements);
    }
  });
  return refusals;
}

}  // namespace fathom
