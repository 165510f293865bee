#include "model/tensor_names.h"

namespace fathom {
namespace {

// Of Llama and those like it.
constexpr TensorNames gated_names{
    .prefix = "model.",
    .embedding = "embed_tokens",
    .output_norm = "norm",
    .head = "lm_head",
    .attention_norm = "layers.{}.input_layernorm",
    .query = "layers.{}.self_attn.q_proj",
    .key = "layers.{}.self_attn.k_proj",
    .value = "layers.{}.self_attn.v_proj",
    .query_norm = "layers.{}.self_attn.q_norm",
    .key_norm = "layers.{}.self_attn.k_norm",
    .attention_output = "layers.{}.self_attn.o_proj",
    .ffn_norm = "layers.{}.post_attention_layernorm",
    .gate = "layers.{}.mlp.gate_proj",
    .up = "layers.{}.mlp.up_proj",
    .down = "layers.{}.mlp.down_proj",
};

constexpr TensorNames gemma3_names() {
  TensorNames names = gated_names;
  names.attention_output_norm = "layers.{}.post_attention_layernorm";
  names.ffn_norm = "layers.{}.pre_feedforward_layernorm";
  names.ffn_output_norm = "layers.{}.post_feedforward_layernorm";
  return names;
}

constexpr TensorNames opt_names{
    .prefix = "model.",
    .embedding = "decoder.embed_tokens",
    .positions = "decoder.embed_positions",
    .project_in = "decoder.project_in",
    .project_out = "decoder.project_out",
    .output_norm = "decoder.final_layer_norm",
    .head = "lm_head",
    .attention_norm = "decoder.layers.{}.self_attn_layer_norm",
    .query = "decoder.layers.{}.self_attn.q_proj",
    .key = "decoder.layers.{}.self_attn.k_proj",
    .value = "decoder.layers.{}.self_attn.v_proj",
    .attention_output = "decoder.layers.{}.self_attn.out_proj",
    .ffn_norm = "decoder.layers.{}.final_layer_norm",
    .up = "decoder.layers.{}.fc1",
    .down = "decoder.layers.{}.fc2",
};

constexpr TensorNames gpt2_names{
    .prefix = "transformer.",
    .embedding = "wte",
    .positions = "wpe",
    .output_norm = "ln_f",
    .head = "lm_head",
    .attention_norm = "h.{}.ln_1",
    .query_key_value = "h.{}.attn.c_attn",
    .attention_output = "h.{}.attn.c_proj",
    .ffn_norm = "h.{}.ln_2",
    .up = "h.{}.mlp.c_fc",
    .down = "h.{}.mlp.c_proj",
    .inputs_first = true,
};

}  // namespace

TensorNames hugging_face_names(ModelFamily family) {
  switch (family) {
    case ModelFamily::gemma3:
      return gemma3_names();
    case ModelFamily::opt:
      return opt_names;
    case ModelFamily::gpt2:
      return gpt2_names;
    case ModelFamily::llama:
    case ModelFamily::mistral:
    case ModelFamily::qwen2:
    case ModelFamily::qwen3:
    case ModelFamily::smollm3:
      break;
  }
  return gated_names;
}

}  // namespace fathom
