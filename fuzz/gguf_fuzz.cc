// A GGUF file: its metadata and tensors, and the configuration and tokenizer in it.

#include <optional>
#include <vector>

#include "formats/dequantize.h"
#include "formats/gguf.h"
#include "fuzz/memory_file.h"
#include "fuzz/target.h"
#include "fuzz/use_tokenizer.h"
#include "model/model_config.h"
#include "model/model_files.h"
#include "model/model_tensors.h"
#include "model/rotary.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

void dequantize_all(const TensorSource& source) {
  std::vector<float> elements;
  for (const auto& [name, tensor] : source.tensors()) {
    elements.resize(tensor.elements());
    dequantize(tensor.type, tensor.bytes, elements);
  }
}

void use_config(const GgufFile& file) {
  const ModelConfig config = read_config(file);
  (void)find_tensors(file.tensors(), config, TensorNaming::gguf);
  for (const RotaryConfig& rotary : config.rotaries) (void)rotary_frequencies(rotary);
}

// ModelFiles reads a few keys more, from a path.
void open_model(std::span<const std::byte> input) {
  static const MemoryFile memory_file;
  memory_file.write(input);
  (void)ModelFiles::open(memory_file.path());
}

}  // namespace

Refusals run_target(std::span<const std::byte> input) {
  const std::string origin = "model.gguf";
  Refusals refusals;
  std::optional<GgufFile> file;
  run_refusable(refusals, origin, [&] { file = GgufFile::parse(origin, input); });
  if (!file) return refusals;
  dequantize_all(file->tensors());
  run_refusable(refusals, origin, [&] { use_config(*file); });
  run_refusable(refusals, origin, [&] { use_tokenizer(Tokenizer::from_gguf(*file)); });
  if (refusals.empty()) run_refusable(refusals, "/proc/", [&] { open_model(input); });
  return refusals;
}

}  // namespace fathom
