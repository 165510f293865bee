// A LoRA adapter's folder. The first line of the input names the model that the adapter is for, one
// of golden/families; the adapter's files follow, each after a line "@ NAME".

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/dequantize.h"
#include "formats/json_file.h"
#include "fuzz/folder_input.h"
#include "fuzz/target.h"
#include "model/lora_adapter.h"

namespace fathom {
namespace {

constexpr std::array<std::string_view, 2> names{"adapter_config.json", "adapter_model.safetensors"};
constexpr std::string_view default_model = "mistral";

std::map<std::string, ModelConfig, std::less<>> read_configs() {
  std::map<std::string, ModelConfig, std::less<>> configs;
  const std::filesystem::path folder =
      std::filesystem::path(FATHOM_SOURCE_DIR) / "golden" / "families";
  for (const auto& model : std::filesystem::directory_iterator(folder)) {
    const std::filesystem::path path = model.path() / "config.json";
    const nlohmann::json json = read_json_object(path, std::size_t{1} << 20);
    configs.emplace(model.path().filename(), read_config(JsonFields(path.string(), json)));
  }
  return configs;
}

void check_factors(const LoraFactors& factors, const LinearShape& shape) {
  require_promise(factors.rank() > 0 && factors.a.shape[1] == shape.inputs &&
                      factors.b.shape == std::vector{shape.outputs, factors.rank()},
                  "factors of another shape");
  require_promise(std::isfinite(factors.scale), "a scale that is not finite");
  std::vector<float> values;
  for (const TensorView* const tensor : {&factors.a, &factors.b}) {
    values.resize(tensor->elements());
    dequantize(tensor->type, tensor->bytes, values);
    require_promise(std::ranges::all_of(values, [](float v) { return std::isfinite(v); }),
                    "a factor that is not finite");
  }
}

}  // namespace

Refusals run_target(std::span<const std::byte> input) {
  static const TestFolder folder;
  static const auto configs = read_configs();
  std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const std::string_view model = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(model.size() + 1, text.size()));
  const auto named = configs.find(model);
  const ModelConfig& config =
      named != configs.end() ? named->second : configs.find(default_model)->second;
  write_files(folder, names, text);
  Refusals refusals;
  run_refusable(refusals, folder.path().string(), [&] {
    const LoraAdapter adapter = LoraAdapter::open(folder.path(), config);
    require_promise(adapter.layers.size() == config.layers, "a layer is missing");
    require_promise(adapter.parameters() > 0, "an adapter without factors");
    for (const LoraLayer& layer : adapter.layers) {
      for (const LinearRole role : linear_roles(config)) {
        if (layer[role]) check_factors(*layer[role], linear_shape(config, role));
      }
    }
  });
  return refusals;
}

}  // namespace fathom
