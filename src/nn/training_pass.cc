#include "nn/training_pass.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/ones.h>
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "nn/index_tensor.h"

namespace fathom {
namespace {

std::int64_t integer(std::size_t n) { return static_cast<std::int64_t>(n); }

// Sequences' rows side by side.
class Pass {
 public:
  Pass(const Decoder& decoder, std::span<const TrainingSequence> sequences, at::Device device)
      : decoder_(decoder), sequences_(sequences), device_(device) {
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> positions;
    for (const TrainingSequence& sequence : sequences) {
      if (sequence.prompt == 0 || sequence.prompt > sequence.tokens.size()) {
        throw std::logic_error("a sequence to train on needs a prompt within its tokens");
      }
      for (std::size_t i = 0; i < sequence.tokens.size(); ++i) {
        if (i >= sequence.prompt) routed_.push_back(integer(tokens.size()));
        tokens.push_back(sequence.tokens[i].value);
        positions.push_back(integer(i));
      }
    }
    const at::Tensor where = index_tensor(positions, device);
    states_ = decoder.embed(index_tensor(tokens, device), where);
    angles_ = decoder.angles(where);
  }

  TrainingStates run() {
    for (LayerIndex layer{0}; layer.value < decoder_.config().depth(); ++layer) {
      const bool all = select_rows(layer);
      layers_run_ += running_.size();
      if (all) {
        states_ = output(layer, states_, angles_);
        continue;
      }
      const at::Tensor rows = index_tensor(running_, device_);
      std::vector<RotaryAngles> angles;
      for (const RotaryAngles& each : angles_) {
        angles.push_back({each.cosine.index_select(0, rows), each.sine.index_select(0, rows)});
      }
      states_ = states_.index_copy(0, rows, output(layer, states_.index_select(0, rows), angles));
    }
    return {states_, layers_run_};
  }

  TrainingStates run(const TokenGates& gates) {
    const at::Tensor routed = index_tensor(routed_, device_);
    for (LayerIndex layer{0}; layer.value < decoder_.config().depth(); ++layer) {
      select_rows(layer);
      layers_run_ += running_.size();
      const at::Tensor entering = states_;
      const at::Tensor result = output(layer, entering, angles_);
      const at::Tensor gate = gates(layer, entering.index_select(0, routed));
      if (!gate.defined()) {
        states_ = result;
        continue;
      }
      // lerp is exact for gates of 0 and 1.
      const at::Tensor every =
          at::ones({entering.size(0)}, gate.options()).index_copy(0, routed, gate);
      states_ = at::lerp(entering, result, every.to(entering.scalar_type()).unsqueeze(1));
    }
    return {states_, layers_run_};
  }

 private:
  // The one place that asks who runs a layer: running_, and how many rows of each sequence. These
  // are its first ones: the prompt, or all. Whether all rows of all sequences run.
  bool select_rows(LayerIndex layer) {
    running_.clear();
    counts_.clear();
    std::int64_t begin = 0;
    for (const TrainingSequence& sequence : sequences_) {
      const bool whole = sequence.route == nullptr || sequence.route->runs(layer);
      counts_.push_back(integer(whole ? sequence.tokens.size() : sequence.prompt));
      for (std::int64_t i = 0; i < counts_.back(); ++i) running_.push_back(begin + i);
      begin += integer(sequence.tokens.size());
    }
    return integer(running_.size()) == begin;
  }

  // A layer's output for the running rows.
  [[nodiscard]] at::Tensor output(LayerIndex layer, const at::Tensor& states,
                                  const std::vector<RotaryAngles>& angles) const {
    const AttentionInputs inputs = decoder_.attention_inputs(layer, states, angles);
    // Split once: a view of each part would have a gradient of the whole's size.
    std::vector<std::int64_t> group_sequences;
    std::vector<std::int64_t> group_rows;
    for (std::size_t s = 0; s < counts_.size(); ++s) {
      if (s == 0 || counts_[s] != counts_[s - 1]) {
        group_sequences.push_back(0);
        group_rows.push_back(0);
      }
      ++group_sequences.back();
      group_rows.back() += counts_[s];
    }
    const auto queries = inputs.query.split_with_sizes(group_rows);
    const auto keys = inputs.key.split_with_sizes(group_rows);
    const auto values = inputs.value.split_with_sizes(group_rows);
    std::vector<at::Tensor> attended;
    for (std::size_t g = 0; g < group_rows.size(); ++g) {
      const auto by_sequence = [&](const at::Tensor& rows) {
        return rows.unflatten(0, {group_sequences[g], -1});
      };
      attended.push_back(decoder_.attend(layer, by_sequence(queries[g]),
                                         by_sequence(keys[g]).transpose(1, 2),
                                         by_sequence(values[g]).transpose(1, 2), 0));
    }
    return decoder_.finish(layer, states,
                           attended.size() == 1 ? attended.front() : at::cat(attended));
  }

  const Decoder& decoder_;
  std::span<const TrainingSequence> sequences_;
  at::Device device_;
  std::vector<std::int64_t> routed_;  // the response's rows
  at::Tensor states_;
  std::vector<RotaryAngles> angles_;
  std::uint64_t layers_run_ = 0;
  // Of the layer at hand.
  std::vector<std::int64_t> running_;
  std::vector<std::int64_t> counts_;
};

}  // namespace

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences) {
  return Pass(decoder, sequences, decoder.device()).run();
}

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences,
                                 const TokenGates& gates) {
  if (std::any_of(sequences.begin(), sequences.end(),
                  [](const TrainingSequence& s) { return s.route != nullptr; })) {
    throw std::logic_error("gates decide alone: the sequences must have no routes");
  }
  return Pass(decoder, sequences, decoder.device()).run(gates);
}

}  // namespace fathom
