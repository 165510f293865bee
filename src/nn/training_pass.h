#pragma once

#include <ATen/core/Tensor.h>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/strong_types.h"
#include "depth/route.h"
#include "nn/activation_storage.h"
#include "nn/decoder.h"
#include "nn/dropout.h"

namespace fathom {

/// One sequence to train on: a prompt, whose rows run every layer, and a response.
struct TrainingSequence {
  std::span<const TokenId> tokens;
  std::size_t prompt = 0;        ///< how many of the tokens are the prompt's: at least one
  const Route* route = nullptr;  ///< of the response's rows; all layers if there is none
  /// Layers that any of its rows run, the prompt's too; all if there is none. What layer dropout
  /// [Fan et al. 2020] leaves of the model for this sequence.
  const Route* kept = nullptr;
  std::uint64_t row = 0;  ///< which of the data's rows it is, for dropout
};

/// Who runs a layer, token by token: given the states [rows][width] with which the response's rows
/// of all sequences enter it, one number for each, 1 if it runs the layer and 0 if not: [rows].
/// Gradients flow into the states and into whatever the gates were computed from. An undefined
/// tensor: all run.
using TokenGates = std::function<at::Tensor(LayerIndex layer, const at::Tensor& states)>;

/// What a pass over sequences gives.
struct TrainingStates {
  at::Tensor states;             ///< [rows][width], after the last layer, sequence after sequence
  std::uint64_t layers_run = 0;  ///< summed over rows: those that were computed
};

/// The keys and values of a pass's rows in each layer: what the rows of another pass may see.
struct PassMemory {
  std::vector<at::Tensor> keys, values;  ///< of each layer: [rows][kv_heads][head_dim]
  std::vector<std::int64_t> begins;      ///< the first row of each sequence
};

/// Runs whole sequences with gradients, packed: there is no padding. On routes, layers are computed
/// for the rows that run them and for no others, and rows see what they would in
/// LanguageModel::forward. On a CPU neighbours that run equally many rows share a call of
/// attention, so sequences of equal length belong side by side.
TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences);
/// Likewise; the sequences must have no routes, and `memory` is filled.
TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences, PassMemory& memory);

/// Runs the responses alone, behind prompts whose keys and values are those of `memory`, of a pass
/// over the same sequences or their prompts. For adapters that leave prompts alone: what the
/// prompts compute then takes no gradients, and is computed once for all routes.
TrainingStates run_response_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences,
                                 const PassMemory& memory);

/// How sequences of different lengths share calls of attention.
enum class AttentionCalls {
  by_length,  ///< a call for neighbours of equal length, which suits CPUs
  padded,     ///< one call for all (nn/padded_attention.h), which suits GPUs
};

struct DetachedPassOptions {
  const PassMemory* prompts = nullptr;  ///< as in run_response_pass(); null: whole sequences
  const Dropout* dropout = nullptr;
  ActivationStorage activations = ActivationStorage::kept;
  /// None: what suits the device. Attention with dropout is always by length.
  std::optional<AttentionCalls> attention;
};

/// A pass whose gradients come in two parts: those of what is computed from the states reach
/// `states.grad()`, and from there backward() leads them through the pass. However activations are
/// kept, the results are the same to the bit. Decoder, sequences and options' objects must live as
/// long as this.
struct DetachedPass {
  at::Tensor states;  ///< [rows][width]; takes gradients
  std::uint64_t layers_run = 0;
  std::function<void()> backward;  ///< once, after gradients have reached the states
};
DetachedPass run_detached_pass(const Decoder& decoder, std::span<const TrainingSequence> sequences,
                               const DetachedPassOptions& options);

/// Skips by masking: every row computes every layer, and its state changes by gate times what the
/// layer adds. A row that skips a layer still has keys and values there, of the state that it
/// carries. The sequences must have no routes.
TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences,
                                 const TokenGates& gates);

}  // namespace fathom
