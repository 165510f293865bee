#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_source.h"
#include "model/model_config.h"
#include "model/model_tensors.h"
#include "model/tensor_names.h"

// What GGUF files call things, for who reads them and who writes them.

namespace fathom {

/// llama.cpp's, for all architectures that have the role.
inline constexpr TensorNames gguf_tensor_names{
    .embedding = "token_embd",
    .positions = "position_embd",
    .project_in = "token_embd_project_in",
    .project_out = "output_project_out",
    .output_norm = "output_norm",
    .head = "output",
    .attention_norm = "blk.{}.attn_norm",
    .query = "blk.{}.attn_q",
    .key = "blk.{}.attn_k",
    .value = "blk.{}.attn_v",
    .query_norm = "blk.{}.attn_q_norm",
    .key_norm = "blk.{}.attn_k_norm",
    .attention_output = "blk.{}.attn_output",
    .attention_output_norm = "blk.{}.post_attention_norm",
    .ffn_norm = "blk.{}.ffn_norm",
    .gate = "blk.{}.ffn_gate",
    .up = "blk.{}.ffn_up",
    .down = "blk.{}.ffn_down",
    .ffn_output_norm = "blk.{}.post_ffw_norm",
};

/// Of families whose queries, keys and values are one tensor.
inline constexpr std::string_view gguf_query_key_value = "blk.{}.attn_qkv";

/// The divisors of rotary frequencies, where a file has them.
inline constexpr std::string_view gguf_rotary_factors = "rope_freqs.weight";

/// How GGUF files of a family differ from its Hugging Face folders.
struct GgufFamily {
  std::string_view architecture;  ///< general.architecture, which also begins the family's keys
  RotaryPairing pairing;          ///< of the rows of query and key weights
};
GgufFamily gguf_family(ModelFamily family);

/// How a row of a query or key weight is found in another pairing: element i says which row of a
/// matrix stored in `from` comes i-th in `to`. Empty if they are the same.
std::vector<std::uint32_t> pairing_order(RotaryPairing from, RotaryPairing to, std::size_t heads,
                                         std::size_t head_dim);

/// A weight with its name in GGUF files.
struct GgufWeight {
  /// What may be laid out otherwise in GGUF files.
  enum class Kind { other, query, key, value, norm };
  std::string name;
  TensorView tensor;
  Kind kind = Kind::other;
  std::optional<ColumnRange> columns;  ///< as in LinearTensors

  [[nodiscard]] std::vector<std::size_t> shape() const {
    return outputs_first_shape(tensor, columns);
  }
};
/// All weights of a model in the order of a forward pass. Queries, keys and values that lie in one
/// tensor with their inputs first are one weight, as in GPT-2's GGUF files.
std::vector<GgufWeight> gguf_weights(const ModelTensors& tensors);
/// Visits every weight where it is, with what GGUF files would call it.
void for_each_weight(
    ModelTensors& tensors,
    const std::function<void(const GgufWeight& weight, TensorView& tensor)>& visit);

}  // namespace fathom
