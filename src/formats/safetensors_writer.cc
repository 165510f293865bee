#include "formats/safetensors_writer.h"

#include <cstdint>
#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"

namespace fathom {

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const nlohmann::ordered_json& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const TensorView& tensor : tensors) {
    if (tensor.type != TensorType::F32 && tensor.type != TensorType::F16 &&
        tensor.type != TensorType::BF16) {
      throw std::invalid_argument(tensor.name + ": safetensors files hold no such type");
    }
    if (header.contains(tensor.name)) throw std::invalid_argument(tensor.name + " stands twice");
    const std::uint64_t begin = end;
    end += tensor.bytes.size();
    header[tensor.name] = {
        {"dtype", info(tensor.type).name}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  // Padded with spaces, so that the tensors are aligned.
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  AtomicFile file(path, sizeof size + text.size() + end);
  file.append(std::as_bytes(std::span(&size, 1)));
  file.append(std::as_bytes(std::span(text)));
  for (const TensorView& tensor : tensors) file.append(tensor.bytes);
  file.commit();
}

}  // namespace fathom
