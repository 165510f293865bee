// A zip archive, and the same bytes as a PyTorch checkpoint.

#include <vector>

#include "formats/dequantize.h"
#include "formats/torch_checkpoint.h"
#include "formats/zip_archive.h"
#include "fuzz/target.h"

namespace fathom {

Refusals run_target(std::span<const std::byte> input) {
  const std::string origin = "pytorch_model.bin";
  Refusals refusals;
  run_refusable(refusals, origin, [&] {
    const ZipArchive archive = ZipArchive::parse(origin, input);
    std::size_t total = 0;
    for (const ZipEntry& entry : archive.entries()) {
      require_promise(archive.find(entry.name) == &entry, "an entry that is not found");
      total += entry.bytes.size();
      run_refusable(refusals, origin, [&] { (void)archive.checked_content(entry); });
    }
    require_promise(total <= input.size(), "entries that overlap");
  });
  run_refusable(refusals, origin, [&] {
    const TensorSource source = parse_torch_checkpoint(origin, input);
    std::vector<float> elements;
    for (const auto& [name, tensor] : source.tensors()) {
      elements.resize(tensor.elements());
      dequantize(tensor.type, tensor.bytes, elements);
    }
  });
  return refusals;
}

}  // namespace fathom
