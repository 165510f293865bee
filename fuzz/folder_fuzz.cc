// A model folder as Hugging Face transformers writes it. The input holds its files one after
// another, each after a line "@ NAME"; names that fathom does not read are passed over.

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>

#include "formats/test_folder.h"
#include "fuzz/target.h"
#include "fuzz/use_tokenizer.h"
#include "model/model_files.h"
#include "model/rotary.h"

namespace fathom {
namespace {

constexpr std::array<std::string_view, 13> names{"config.json",
                                                 "generation_config.json",
                                                 "tokenizer.json",
                                                 "tokenizer_config.json",
                                                 "chat_template.jinja",
                                                 "model.safetensors",
                                                 "model.safetensors.index.json",
                                                 "model-00001-of-00002.safetensors",
                                                 "model-00002-of-00002.safetensors",
                                                 "pytorch_model.bin",
                                                 "pytorch_model.bin.index.json",
                                                 "pytorch_model-00001-of-00002.bin",
                                                 "pytorch_model-00002-of-00002.bin"};

void write_files(const TestFolder& folder, std::string_view input) {
  for (const std::string_view name : names) std::filesystem::remove(folder.path() / name);
  constexpr std::string_view mark = "@ ";
  constexpr std::string_view next_mark = "\n@ ";
  while (input.starts_with(mark)) {
    input.remove_prefix(mark.size());
    const std::string_view name = input.substr(0, input.find('\n'));
    input.remove_prefix(std::min(name.size() + 1, input.size()));
    const std::string_view content = input.substr(0, input.find(next_mark));
    input.remove_prefix(std::min(content.size() + 1, input.size()));
    if (std::find(names.begin(), names.end(), name) != names.end()) folder.write(name, content);
  }
}

}  // namespace

Refusals run_target(std::span<const std::byte> input) {
  static const TestFolder folder;
  write_files(folder, {reinterpret_cast<const char*>(input.data()), input.size()});
  Refusals refusals;
  std::optional<ModelFiles> files;
  run_refusable(refusals, folder.path().string(), [&] {
    files = ModelFiles::open(folder.path());
    for (const RotaryConfig& rotary : files->config.rotaries) (void)rotary_frequencies(rotary);
    (void)model_sizes(files->tensors).total();
  });
  if (!files) return refusals;
  // A pattern of the tokenizer's may give up on a text; no file is at fault then.
  run_refusable(refusals, "the tokenizer's pattern", [&] { use_tokenizer(files->tokenizer); });
  return refusals;
}

}  // namespace fathom
