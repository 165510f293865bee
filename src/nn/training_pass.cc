#include "nn/training_pass.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/ones.h>
#include <algorithm>
#include <c10/core/GradMode.h>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "nn/index_tensor.h"
#include "nn/padded_attention.h"

namespace fathom {
namespace {

std::int64_t integer(std::size_t n) { return static_cast<std::int64_t>(n); }

// Sequences' rows side by side: all of them or, behind prompts that have run, the responses'.
class Pass {
 public:
  Pass(const Decoder& decoder, std::span<const TrainingSequence> sequences,
       const PassMemory* prompts, const Dropout* dropout,
       std::optional<AttentionCalls> attention = std::nullopt)
      : decoder_(decoder),
        sequences_(sequences),
        prompts_(prompts),
        dropout_(dropout),
        device_(decoder.device()),
        calls_(attention.value_or(device_.is_cuda() ? AttentionCalls::padded
                                                    : AttentionCalls::by_length)) {
    if (dropout != nullptr && dropout->rates().attention > 0) calls_ = AttentionCalls::by_length;
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
    tokens_ = index_tensor(tokens, device_);
    positions_ = index_tensor(positions, device_);
    angles_ = decoder.angles(positions_);
  }

  // Fills `memory` if there is one.
  TrainingStates run(PassMemory* memory) {
    if (memory != nullptr) *memory = {.keys = {}, .values = {}, .begins = begins_};
    memory_ = memory;
    RowValues states{embed()};
    for (LayerIndex layer{0}; layer.value < depth(); ++layer) {
      if (!select_rows(layer)) continue;
      gather(states);
      states.running = output(layer, states.running);
      layers_run_ += static_cast<std::uint64_t>(running_.count);
    }
    return {of_all_rows(states), layers_run_};
  }

  // The states that enter the layers are kept, and nothing else.
  TrainingStates run_without_gradients() {
    const c10::NoGradGuard guard;
    RowValues states{embed()};
    for (LayerIndex layer{0}; layer.value < depth(); ++layer) {
      if (!select_rows(layer)) continue;
      gather(states);
      entering_.push_back(states.running);
      states.running = output(layer, states.running);
      layers_run_ += static_cast<std::uint64_t>(running_.count);
    }
    return {of_all_rows(states), layers_run_};
  }
  // Takes gradients from the states after the last layer down to the weights, with each layer's
  // pass once more.
  void recompute_backward(const at::Tensor& gradient) {
    const c10::AutoGradMode guard(true);
    RowValues gradients{gradient};
    for (LayerIndex layer{depth()}; layer.value > 0;) {
      --layer.value;
      if (!select_rows(layer)) continue;
      gather(gradients);
      const at::Tensor entering = entering_.back().detach().set_requires_grad(true);
      entering_.pop_back();
      output(layer, entering).backward(gradients.running);
      gradients.running = entering.grad();
    }
    const at::Tensor states = embed();
    if (states.requires_grad()) states.backward(of_all_rows(gradients));
  }

  TrainingStates run(const TokenGates& gates) {
    const at::Tensor routed = index_tensor(routed_, device_);
    at::Tensor states = embed();
    for (LayerIndex layer{0}; layer.value < depth(); ++layer) {
      select_rows(layer);
      layers_run_ += static_cast<std::uint64_t>(running_.count);
      const at::Tensor entering = states;
      const at::Tensor result = output(layer, entering);
      const at::Tensor gate = gates(layer, entering.index_select(0, routed));
      if (!gate.defined()) {
        states = result;
        continue;
      }
      // lerp is exact for gates of 0 and 1.
      const at::Tensor every =
          at::ones({entering.size(0)}, gate.options()).index_copy(0, routed, gate);
      states = at::lerp(entering, result, every.to(entering.scalar_type()).unsqueeze(1));
    }
    return {states, layers_run_};
  }

 private:
  [[nodiscard]] std::int32_t depth() const { return decoder_.config().depth(); }
  [[nodiscard]] at::Tensor embed() const {
    if (dropout_ == nullptr) return decoder_.embed(tokens_, positions_, nullptr);
    std::vector<Dropout::Part> parts;
    for (const TrainingSequence& sequence : sequences_) {
      parts.push_back({sequence.row, integer(sequence.tokens.size() - before(sequence))});
    }
    const PartedDropout dropout{*dropout_, parts};
    return decoder_.embed(tokens_, positions_, &dropout);
  }

  // What all rows carry through the layers: states or, backwards, gradients. Those of the rows that
  // run lie side by side for as long as layers are run by the same ones.
  struct RowValues {
    at::Tensor all;           // [rows][width]; out of date where rows run
    at::Tensor running = {};  // [running rows][width]; undefined before the first layer
    at::Tensor rows = {};     // which these are; undefined if all
  };
  void gather(RowValues& values) const {
    if (values.running.defined() && values.rows.is_same(running_.rows)) return;
    values.all = of_all_rows(values);
    values.rows = running_.rows;
    values.running = values.rows.defined() ? values.all.index_select(0, values.rows) : values.all;
  }
  static at::Tensor of_all_rows(const RowValues& values) {
    if (!values.running.defined()) return values.all;
    return values.rows.defined() ? values.all.index_copy(0, values.rows, values.running)
                                 : values.running;
  }

  // How many of a sequence's tokens are not rows of this pass.
  [[nodiscard]] std::size_t before(const TrainingSequence& sequence) const {
    return prompts_ != nullptr ? sequence.prompt : 0;
  }

  // Who runs a layer.
  struct RunningRows {
    std::vector<std::int64_t> counts;  // of each sequence
    std::int64_t count = 0;            // of all
    at::Tensor rows;                   // which; undefined if all
    std::vector<RotaryAngles> angles;  // theirs
  };
  // The one place that asks who runs a layer. Of each sequence these are its first rows: the
  // prompt's, or all. Whether there are any: if not, running_ stays as it is.
  bool select_rows(LayerIndex layer) {
    std::vector<std::int64_t> counts;
    std::vector<std::int64_t> rows;
    std::int64_t begin = 0;
    for (const TrainingSequence& sequence : sequences_) {
      const bool whole = sequence.route == nullptr || sequence.route->runs(layer);
      const bool dropped = sequence.kept != nullptr && !sequence.kept->runs(layer);
      const std::size_t end = whole ? sequence.tokens.size() : sequence.prompt;
      counts.push_back(dropped ? 0 : integer(end - before(sequence)));
      for (std::int64_t i = 0; i < counts.back(); ++i) rows.push_back(begin + i);
      begin += integer(sequence.tokens.size() - before(sequence));
    }
    if (rows.empty()) return false;
    if (counts == running_.counts) return true;
    running_ = {.counts = counts, .count = integer(rows.size()), .rows = {}, .angles = angles_};
    if (running_.count == begin) return true;
    running_.rows = index_tensor(rows, device_);
    for (RotaryAngles& angles : running_.angles) {
      angles = {angles.cosine.index_select(0, running_.rows),
                angles.sine.index_select(0, running_.rows)};
    }
    return true;
  }

  // Neighbours whose running rows share a call of attention.
  struct Group {
    std::vector<std::size_t> sequences;
    std::int64_t rows;  // of each
    [[nodiscard]] std::size_t first() const { return sequences.front(); }
    [[nodiscard]] std::int64_t count() const { return integer(sequences.size()); }
  };
  [[nodiscard]] std::vector<Group> groups() const {
    std::vector<Group> groups;
    for (std::size_t s = 0; s < running_.counts.size(); ++s) {
      const std::int64_t count = running_.counts[s];
      if (count == 0) continue;
      const bool joins = prompts_ == nullptr && !groups.empty() && groups.back().rows == count;
      if (joins) {
        groups.back().sequences.push_back(s);
      } else {
        groups.push_back({{s}, count});
      }
    }
    return groups;
  }

  // A layer's output for the running rows.
  [[nodiscard]] at::Tensor output(LayerIndex layer, const at::Tensor& states) const {
    const AttentionInputs inputs = decoder_.attention_inputs(layer, states, running_.angles);
    if (memory_ != nullptr) {
      memory_->keys.push_back(inputs.key);
      memory_->values.push_back(inputs.value);
    }
    const at::Tensor attended = calls_ == AttentionCalls::padded ? attend_padded(layer, inputs)
                                                                 : attend_by_length(layer, inputs);
    if (dropout_ == nullptr) return decoder_.finish(layer, states, attended, nullptr);
    std::vector<Dropout::Part> parts;
    for (std::size_t s = 0; s < sequences_.size(); ++s) {
      parts.push_back({sequences_[s].row, running_.counts[s]});
    }
    const PartedDropout dropout{*dropout_, parts};
    return decoder_.finish(layer, states, attended, &dropout);
  }

  // Of few positions, gradients of torch's attention of CPUs take half as long in float32 as in
  // bfloat16, conversions and all (bench/peers/train_attention.py).
  [[nodiscard]] at::ScalarType attention_type(std::int64_t positions, at::ScalarType type) const {
    constexpr std::int64_t few = 192;
    const bool fused = dropout_ == nullptr || dropout_->rates().attention <= 0;
    return fused && device_.is_cpu() && positions <= few ? decoder_.state_type() : type;
  }

  [[nodiscard]] at::Tensor attend_by_length(LayerIndex layer, const AttentionInputs& inputs) const {
    // Split once: a view of each part would have a gradient of the whole's size.
    const std::vector<Group> parts = groups();
    std::vector<std::int64_t> rows;
    for (const Group& part : parts) rows.push_back(part.count() * part.rows);
    const auto queries = inputs.query.split_with_sizes(rows);
    const auto keys = inputs.key.split_with_sizes(rows);
    const auto values = inputs.value.split_with_sizes(rows);
    std::vector<at::Tensor> attended;
    for (std::size_t g = 0; g < parts.size(); ++g) {
      const Group& part = parts[g];
      const auto by_sequence = [&](const at::Tensor& tensor) {
        return tensor.unflatten(0, {part.count(), part.rows});
      };
      const std::int64_t first = integer(before(sequences_[part.first()]));
      const auto seen = [&](const at::Tensor& own, const std::vector<at::Tensor>* prompts) {
        if (prompts == nullptr) return by_sequence(own).transpose(1, 2);
        const at::Tensor prompt =
            (*prompts)[layer.index()].narrow(0, prompts_->begins[part.first()], first);
        return at::cat({prompt, own}).unsqueeze(0).transpose(1, 2);
      };
      const at::ScalarType type = attention_type(first + part.rows, inputs.query.scalar_type());
      const at::Tensor query = by_sequence(queries[g]).to(type);
      const at::Tensor key =
          seen(keys[g], prompts_ != nullptr ? &prompts_->keys : nullptr).to(type);
      const at::Tensor value =
          seen(values[g], prompts_ != nullptr ? &prompts_->values : nullptr).to(type);
      if (dropout_ == nullptr) {
        attended.push_back(decoder_.attend(layer, query, key, value, first));
        continue;
      }
      std::vector<Dropout::Part> sequences;
      for (const std::size_t s : part.sequences) sequences.push_back({sequences_[s].row, 1});
      attended.push_back(
          decoder_.attend(layer, query, key, value, first, PartedDropout{*dropout_, sequences}));
    }
    return attended.size() == 1 ? attended.front() : at::cat(attended);
  }

  [[nodiscard]] at::Tensor attend_padded(LayerIndex layer, const AttentionInputs& inputs) const {
    const PaddedAttention& padded = padding();
    const auto keys = [&](const at::Tensor& own, const std::vector<at::Tensor>* prompts) {
      const at::Tensor table = prompts == nullptr ? own : at::cat({own, (*prompts)[layer.index()]});
      return padded.pad_keys(table).transpose(1, 2);
    };
    const auto& window = decoder_.config().attention[layer.index()].window;
    return padded.unpad(
        decoder_.attend(layer, padded.pad_rows(inputs.query),
                        keys(inputs.key, prompts_ != nullptr ? &prompts_->keys : nullptr),
                        keys(inputs.value, prompts_ != nullptr ? &prompts_->values : nullptr),
                        padded.visible(window ? std::optional(integer(*window)) : std::nullopt)));
  }

  // Of the running rows. Layers that the same rows run share it.
  [[nodiscard]] const PaddedAttention& padding() const {
    const auto found = paddings_.find(running_.counts);
    if (found != paddings_.end()) return found->second;
    std::vector<SequenceRows> rows;
    std::int64_t own = 0;
    for (std::size_t s = 0; s < running_.counts.size(); ++s) {
      const std::int64_t count = running_.counts[s];
      if (count == 0) continue;
      const std::int64_t first = integer(before(sequences_[s]));
      const std::int64_t prompt = prompts_ != nullptr ? running_.count + prompts_->begins[s] : 0;
      rows.push_back({.count = count, .first = first, .prompt = prompt, .own = own});
      own += count;
    }
    return paddings_.emplace(running_.counts, PaddedAttention(rows, device_)).first->second;
  }

  const Decoder& decoder_;
  std::span<const TrainingSequence> sequences_;
  const PassMemory* prompts_;  // what has run before; null if nothing has
  const Dropout* dropout_;
  PassMemory* memory_ = nullptr;
  at::Device device_;
  AttentionCalls calls_;
  std::vector<std::int64_t> begins_;  // the first row of each sequence
  std::vector<std::int64_t> routed_;  // the response's rows
  at::Tensor tokens_, positions_;
  std::vector<RotaryAngles> angles_;
  std::vector<at::Tensor> entering_;  // what layers begin with, if it is kept
  std::uint64_t layers_run_ = 0;
  mutable std::map<std::vector<std::int64_t>, PaddedAttention> paddings_;  // by counts
  RunningRows running_;                                                    // of the layer at hand
};

}  // namespace

namespace {

void require_no_routes(std::span<const TrainingSequence> sequences, const char* why) {
  if (std::any_of(sequences.begin(), sequences.end(), [](const TrainingSequence& s) {
        return s.route != nullptr || s.kept != nullptr;
      })) {
    throw std::logic_error(why);
  }
}

}  // namespace

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences) {
  return Pass(decoder, sequences, nullptr, nullptr).run(nullptr);
}

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences, PassMemory& memory) {
  require_no_routes(sequences,
                    "what is remembered is of all rows: the sequences must have no routes");
  return Pass(decoder, sequences, nullptr, nullptr).run(&memory);
}

TrainingStates run_response_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences,
                                 const PassMemory& memory) {
  return Pass(decoder, sequences, &memory, nullptr).run(nullptr);
}

DetachedPass run_detached_pass(const Decoder& decoder, std::span<const TrainingSequence> sequences,
                               const DetachedPassOptions& options) {
  const auto pass = std::make_shared<Pass>(decoder, sequences, options.prompts, options.dropout,
                                           options.attention);
  const bool recomputed = options.activations == ActivationStorage::recomputed;
  const TrainingStates run = recomputed ? pass->run_without_gradients() : pass->run(nullptr);
  DetachedPass detached{.states = run.states.detach().set_requires_grad(true),
                        .layers_run = run.layers_run,
                        .backward = {}};
  detached.backward = [pass, recomputed, before = run.states, after = detached.states] {
    if (recomputed) {
      pass->recompute_backward(after.grad());
    } else if (before.requires_grad()) {
      before.backward(after.grad());
    }
  };
  return detached;
}

TrainingStates run_training_pass(const Decoder& decoder,
                                 std::span<const TrainingSequence> sequences,
                                 const TokenGates& gates) {
  require_no_routes(sequences, "gates decide alone: the sequences must have no routes");
  return Pass(decoder, sequences, nullptr, nullptr).run(gates);
}

}  // namespace fathom
