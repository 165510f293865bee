#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "formats/gguf_writer.h"
#include "formats/tensor_source.h"
#include "model/lora_adapter.h"
#include "model/model_tensors.h"

namespace fathom {

/// An adapter's change of one weight.
struct MergedFactors {
  LoraFactors factors;
  /// Row r of the weight as the source has it is row row_order[r] of B; r if this is empty.
  std::vector<std::uint32_t> row_order;
};

/// A model as a GGUF file that is to be written: everything but the tensors' bytes.
class GgufExport {
 public:
  /// A tensor of the file, and where it comes from.
  struct Tensor {
    std::string name;
    TensorType type;
    TensorView source;
    std::vector<std::uint32_t> row_order = {};  ///< row i is row row_order[i] of the source
    float offset = 0;                           ///< added to every element, if the type is F32
    /// Set where row i is column i of these of the source.
    std::optional<ColumnRange> columns = std::nullopt;
    /// Set where an adapter is merged: what is added in float32 before the type is converted.
    std::optional<MergedFactors> merged = std::nullopt;

    [[nodiscard]] std::vector<std::size_t> shape() const {
      return outputs_first_shape(source, columns);
    }
  };

  /// The model of a Hugging Face folder or a GGUF file, with its matrices as `type`: one that
  /// quantize() can make; weight_type() says which tensors are of another. Without a type, that of
  /// a folder's embedding. What a GGUF file says is carried over, but for the file type. Throws
  /// FileError if fathom cannot read the model or a GGUF file cannot say what it is, InputError if
  /// a GGUF file is to be converted to no type.
  static GgufExport open(const std::filesystem::path& path, std::optional<TensorType> type);
  /// Likewise with an adapter that was opened for the model merged: W + scale * B A, whichever rows
  /// it is for.
  static GgufExport open_merged(const std::filesystem::path& path, std::optional<TensorType> type,
                                const LoraAdapter& adapter);

  /// Writes the file, with its rows converted by the team; other memory than for a few megabytes is
  /// not taken. Calls `go_on` with the bytes written so far again and again; where it says no,
  /// nothing is left and the result is false. Throws FileError if the file cannot be written or a
  /// weight does not fit its type.
  bool write(const std::filesystem::path& path, ThreadTeam& team,
             const std::function<bool(std::uint64_t)>& go_on) const;

  [[nodiscard]] TensorType type() const { return type_; }
  [[nodiscard]] const std::vector<Tensor>& tensors() const { return tensors_; }
  [[nodiscard]] std::uint64_t file_bytes() const { return header_.file_bytes(); }
  /// What a person should know of what the file does not say as its source did: whole sentences
  /// without the full stop.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  GgufExport(TensorType type, TensorSource source, std::uint64_t alignment)
      : type_(type), source_(std::move(source)), header_(alignment) {}

  // `adapter` is nullptr where none is merged.
  static GgufExport of_folder(const std::filesystem::path& path, std::optional<TensorType> type,
                              const LoraAdapter* adapter);
  static GgufExport of_file(const std::filesystem::path& path, std::optional<TensorType> type,
                            const LoraAdapter* adapter);
  void add_tensor(Tensor tensor);
  void merge(const LoraAdapter& adapter, const ModelConfig& config);
  void note_changes();

  TensorType type_;
  TensorSource source_;  // keeps the tensors alive
  GgufHeader header_;
  std::vector<Tensor> tensors_;
  std::vector<std::string> notes_;
};

}  // namespace fathom
