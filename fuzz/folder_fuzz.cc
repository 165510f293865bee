// A model folder as Hugging Face transformers writes it. The input holds its files one after
// another, each after a line "@ NAME"; names that fathom does not read are passed over.

#include <array>
#include <optional>
#include <string_view>

#include "formats/test_folder.h"
#include "fuzz/folder_input.h"
#include "fuzz/target.h"
#include "fuzz/use_tokenizer.h"
#include "model/model_files.h"
#include "model/rotary.h"

namespace fathom {
namespace {

constexpr std::array<std::string_view, 17> names{"config.json",
                                                 "generation_config.json",
                                                 "tokenizer.json",
                                                 "vocab.json",
                                                 "merges.txt",
                                                 "added_tokens.json",
                                                 "special_tokens_map.json",
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

}  // namespace

Refusals run_target(std::span<const std::byte> input) {
  static const TestFolder folder;
  write_files(folder, names, {reinterpret_cast<const char*>(input.data()), input.size()});
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
