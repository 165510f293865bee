#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "model/language_model.h"
#include "model/model_files.h"

namespace fathom {

/// Where torch computes.
enum class TorchDevice { cpu, cuda };
/// The type of weights, products and attention; hidden states and norms are in float32, or float64
/// with float64.
enum class TorchType { float32, bfloat16, float64 };

TorchDevice parse_torch_device(std::string_view text);  ///< "cpu" or "cuda", else InputError
TorchType parse_torch_type(std::string_view text);  ///< "float32" or "bfloat16", else InputError

/// How many threads torch computes with on a CPU.
void set_torch_threads(int threads);

struct TorchOptions {
  TorchDevice device = TorchDevice::cpu;
  TorchType type = TorchType::float32;
};

/// LanguageModel on libtorch, on CPUs and CUDA's GPUs: layers that no row runs cost nothing. Logits
/// are those of engine/'s `exact` to a tolerance, not to the bit, and may depend on company.
class TorchModel final : public LanguageModel {
 public:
  /// Reads the weights of `files`, which it keeps. Throws InputError if the device is not there.
  TorchModel(ModelFiles files, const TorchOptions& options);
  ~TorchModel() override;

  [[nodiscard]] const ModelConfig& config() const override;
  [[nodiscard]] std::unique_ptr<KvCache> new_cache(std::size_t capacity) const override;
  void forward(std::span<const SequenceStep> steps, ForwardOutput& output,
               HiddenStateSink* sink) override;
  void final_norm(std::span<const float> hidden, std::span<float> normed) override;
  void head(std::span<const float> hidden, ForwardOutput& output) override;

  [[nodiscard]] const ModelFiles& files() const;

 private:
  // Keeps torch's headers, which take the compiler seconds, out of here.
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace fathom
