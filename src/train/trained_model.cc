#include "train/trained_model.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "formats/safetensors_writer.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// The files of the model's own folder, but for its weights.
void write_folder(const fs::path& folder, const ModelFiles& model,
                  std::span<const TensorView> weights) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw FileError(folder.string(), "", "cannot be made: " + error.message());
  for (const auto& entry : fs::directory_iterator(model.path)) {
    const fs::path& from = entry.path();
    const std::string extension = from.extension().string();
    const bool index = from.filename().string().ends_with(".index.json");
    if (index || (extension != ".json" && extension != ".jinja" && extension != ".txt")) continue;
    fs::copy_file(from, folder / from.filename(), fs::copy_options::overwrite_existing, error);
    if (error) throw FileError(from.string(), "", "cannot be copied: " + error.message());
  }
  write_safetensors(folder / "model.safetensors", weights, {{"format", "pt"}});
}

// What the model's own file says, with the new weights in place of its own.
void write_gguf(const fs::path& path, const ModelFiles& model,
                std::span<const TensorView> weights) {
  constexpr std::string_view file_type = "general.file_type";
  const GgufFile file = GgufFile::open(model.path);
  GgufHeader header(file.find_unsigned("general.alignment").value_or(default_gguf_alignment));
  for (const GgufEntry& entry : file.entries()) {
    if (entry.key != file_type && entry.key != "general.quantization_version") {
      header.add_entry(entry);
    }
  }
  header.add_number(file_type, std::uint32_t{0});  // all in float32
  for (const TensorView& tensor : weights) {
    header.add_tensor(tensor.name, tensor.type, tensor.shape);
  }
  GgufOutput output(path, header);
  for (const TensorView& tensor : weights) output.append(tensor.bytes);
  output.commit();
}

}  // namespace

void write_trained_model(const fs::path& path, const ModelFiles& model,
                         std::span<const TensorView> weights) {
  if (fs::is_directory(model.path)) {
    write_folder(path, model, weights);
  } else {
    write_gguf(path, model, weights);
  }
}

}  // namespace fathom
