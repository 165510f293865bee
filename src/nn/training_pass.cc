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

// Sequences' rows side by side: all of them or, behind prompts that have run, the responses'.
class Pass {
 public:
  Pass(const Decoder& decoder, std::span<const TrainingSequence> sequences,
       const PassMemory* prompts)
      : decoder_(decoder), sequences_(sequences), prompts_(prompts), device_(decoder.device()) {
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> positions;
    for (const TrainingSequence& sequence : sequences) {
      if (sequence.prompt == 0 || sequence.prompt > sequence.tokens.size()) {
        throw std::logic_error("a sequence to train on needs a prompt within its tokens");
      }
      begins_.push_back(integer(tokens.size()));
      for (std::size_t i = before(sequence); i < sequence.tokens.size(); ++i) {
        if (i >= sequence.prompt) routed_.push_back(integer(tokens.size()));
        tokens.push_back(sequence.tokens[i].value);
        positions.push_back(integer(i));
      }
    }
    const at::Tensor where = index_tensor(positions, device_);
    states_ = decoder.embed(index_tensor(tokens, device_), where);
    angles_ = decoder.angles(where);
  }

  // Fills `memory` if there is one.
  TrainingStates run(PassMemory* memory) {
    if (memory != nullptr) *memory = {.keys = {}, .values = {}, .begins = begins_};
    memory_ = memory;
    for (LayerIndex layer{0}; layer.value < decoder_.config().depth(); ++layer) {
      const bool all = select_rows(layer);
      layers_run_ += running_.size();
      if (running_.empty()) continue;
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
  // How many of a sequence's tokens are not rows of this pass.
  [[nodiscard]] std::size_t before(const TrainingSequence& sequence) const {
    return prompts_ != nullptr ? sequence.prompt : 0;
  }

  // The one place that asks who runs a layer: running_, and how many rows of each sequence. These
  // are its first ones: the prompt, or all. Whether all rows of all sequences run.
  bool select_rows(LayerIndex layer) {
    running_.clear();
    counts_.clear();
    std::int64_t begin = 0;
    for (const TrainingSequence& sequence : sequences_) {
      const bool whole = sequence.route == nullptr || sequence.route->runs(layer);
      counts_.push_back(
          integer((whole ? sequence.tokens.size() : sequence.prompt) - before(sequence)));
      for (std::int64_t i = 0; i < counts_.back(); ++i) running_.push_back(begin + i);
      begin += integer(sequence.tokens.size() - before(sequence));
    }
    return integer(running_.size()) == begin;
  }

  // Neighbours whose running rows share a call of attention.
  struct Group {
    std::size_t first;  // of the sequences
    std::int64_t sequences;
    std::int64_t rows;  // of each
  };
  [[nodiscard]] std::vector<Group> groups() const {
    std::vector<Group> groups;
    for (std::size_t s = 0; s < counts_.size(); ++s) {
      if (counts_[s] == 0) continue;
      const bool joins = prompts_ == nullptr && !groups.empty() && groups.back().rows == counts_[s];
      if (joins) {
        ++groups.back().sequences;
      } else {
        groups.push_back({s, 1, counts_[s]});
      }
    }
    return groups;
  }

  // A layer's output for the running rows.
  [[nodiscard]] at::Tensor output(LayerIndex layer, const at::Tensor& states,
                                  const std::vector<RotaryAngles>& angles) const {
    const AttentionInputs inputs = decoder_.attention_inputs(layer, states, angles);
    if (memory_ != nullptr) {
      memory_->keys.push_back(inputs.key);
      memory_->values.push_back(inputs.value);
    }
    // Split once: a view of each part would have a gradient of the whole's size.
    const std::vector<Group> parts = groups();
    std::vector<std::int64_t> rows;
    for (const Group& part : parts) rows.push_back(part.sequences * part.rows);
    const auto queries = inputs.query.split_with_sizes(rows);
    const auto keys = inputs.key.split_with_sizes(rows);
    const auto values = inputs.value.split_with_sizes(rows);
    std::vector<at::Tensor> attended;
    for (std::size_t g = 0; g < parts.size(); ++g) {
      const Group& part = parts[g];
      const auto by_sequence = [&](const at::Tensor& tensor) {
        return tensor.unflatten(0, {part.sequences, part.rows});
      };
      const std::int64_t first = integer(before(sequences_[part.first]));
      const auto seen = [&](const at::Tensor& own, const std::vector<at::Tensor>* prompts) {
        if (prompts == nullptr) return by_sequence(own).transpose(1, 2);
        const at::Tensor prompt =
            (*prompts)[layer.index()].narrow(0, prompts_->begins[part.first], first);
        return at::cat({prompt, own}).unsqueeze(0).transpose(1, 2);
      };
      attended.push_back(decoder_.attend(
          layer, by_sequence(queries[g]),
          seen(keys[g], prompts_ != nullptr ? &prompts_->keys : nullptr),
          seen(values[g], prompts_ != nullptr ? &prompts_->values : nullptr), first));
    }
    return decoder_.finish(layer, states,
                           attended.size() == 1 ? attended.front() : at::cat(attended));
  }

  const Decoder& decoder_;
  std::span<const TrainingSequence> sequences_;
  const PassMemory* prompts_;  // what has run before; null if nothing has
  PassMemory* memory_ = nullptr;
  at::Device device_;
  std::vector<std::int64_t> begins_;  // the first row of each sequence
  std::vector<std::int64_t> routed_;  // the response's rows
  at::Tensor states_;
  std::vector<RotaryAngles> angles_;
  std::uint64_t layers_run_ = 0;
  // Of the layer at hand.
  std::vector<std::int64_t> running_;
  std::vector<std::int64_t> counts_;
};

}  // namespace

namespace {

void require_no_routes(std::span<const TrainingSequence> sequences, const char* why) {
  if (std::any_of(sequences.begin(), sequences.end(),
                  [](const TrainingSequence& s) { return s.route != nullptr; })) {
    throw std::logic_error(why);
  }
}

}  // namespace

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences) {
  return Pass(decoder, sequences, nullptr).run(nullptr);
}

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences, PassMemory& memory) {
  require_no_routes(sequences,
                    "what is remembered is of all rows: the sequences must have no routes");
  return Pass(decoder, sequences, nullptr).run(&memory);
}

TrainingStates run_response_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences,
                                 const PassMemory& memory) {
  return Pass(decoder, sequences, &memory).run(nullptr);
}

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences,
                                 const TokenGates& gates) {
  require_no_routes(sequences, "gates decide alone: the sequences must have no routes");
  return Pass(decoder, sequences, nullptr).run(gates);
}

}  // namespace fathom
