#include "nn/torch_model.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <algorithm>
#include <c10/core/InferenceMode.h>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "nn/decoder.h"
#include "nn/device.h"
#include "nn/index_tensor.h"
#include "nn/parameters.h"
#include "nn/torch_kv_cache.h"

namespace fathom {
namespace {

std::int64_t integer(std::size_t n) { return static_cast<std::int64_t>(n); }

TorchKvCache& torch_cache(const SequenceStep& step) {
  auto* const cache = dynamic_cast<TorchKvCache*>(step.cache);
  if (cache == nullptr) throw std::logic_error("the cache was not made by this kind of model");
  return *cache;
}

// torch wants writable memory even where it only reads.
at::Tensor view_of(std::span<const float> values, std::int64_t columns) {
  return at::from_blob(const_cast<float*>(values.data()),
                       {integer(values.size()) / columns, columns}, at::kFloat);
}

// The greatest of each block of logits, NaNs passed over.
void find_maxima(std::span<const float> logits, std::span<float> maxima) {
  for (std::size_t block = 0; block < maxima.size(); ++block) {
    float largest = -std::numeric_limits<float>::infinity();
    const std::size_t end = std::min((block + 1) * logit_block, logits.size());
    for (std::size_t i = block * logit_block; i < end; ++i) {
      if (logits[i] > largest) largest = logits[i];
    }
    maxima[block] = largest;
  }
}

}  // namespace

class TorchModel::Implementation {
 public:
  Implementation(ModelFiles files, const TorchOptions& options)
      : files_(std::move(files)),
        device_(torch_device(options.device)),
        type_(torch_type(options.type)),
        parameters_(files_.source, type_, device_),
        decoder_(files_.config, files_.tensors, parameters_, type_) {}

  [[nodiscard]] const ModelFiles& files() const { return files_; }

  [[nodiscard]] std::unique_ptr<KvCache> new_cache(std::size_t capacity) const {
    check_capacity(capacity, files_.config);
    const TorchCacheShape shape{.layers = files_.config.layers,
                                .kv_heads = files_.config.kv_heads,
                                .head_dim = files_.config.head_dim,
                                .options = at::TensorOptions(device_).dtype(type_)};
    return std::make_unique<TorchKvCache>(shape, capacity);
  }

  void forward(std::span<const SequenceStep> steps, ForwardOutput& output, HiddenStateSink* sink) {
    check_steps(steps, files_.config);
    output.layers_run.assign(steps.size(), 0);
    enter(steps);
    if (sink != nullptr) {
      fetch_states();
      for (std::size_t s = 0; s < steps.size(); ++s) sink->entering(s, layer_rows(s, steps));
    }
    try {
      for (LayerIndex layer{0}; layer.value < files_.config.depth(); ++layer) {
        select_rows(layer, steps, output);
        if (!running_.empty()) run_layer(layer);
        if (sink == nullptr) continue;
        fetch_states();
        for (std::size_t s = 0; s < steps.size(); ++s) {
          if (!begins_after(steps[s], layer)) sink->layer_output(s, layer, layer_rows(s, steps));
        }
      }
      write_logits(steps, output);
    } catch (...) {
      for (const SequenceStep& step : steps) torch_cache(step).roll_back();
      throw;
    }
    for (const SequenceStep& step : steps) torch_cache(step).advance(step.tokens.size());
  }

  void final_norm(std::span<const float> states, std::span<float> normed) const {
    if (states.size() != normed.size() || states.size() % files_.config.width != 0) {
      throw std::invalid_argument("the final norm takes and gives [rows][width]");
    }
    const at::Tensor result = decoder_.final_norm(to_states(states));
    view_of(normed, integer(files_.config.width)).copy_(result);
  }

  void head(std::span<const float> states, ForwardOutput& output) const {
    if (states.size() % files_.config.width != 0) {
      throw std::invalid_argument("the head takes [rows][width]");
    }
    write_logits(to_states(states), output);
  }

 private:
  // The rows of one step that run the layer at hand: a range of running_.
  struct Piece {
    std::size_t step;
    std::int64_t count;
    std::int64_t first_position;
    TorchKvCache* cache;
  };

  static bool begins_after(const SequenceStep& step, LayerIndex layer) {
    return step.entering && step.entering->layer > layer;
  }

  [[nodiscard]] at::Tensor to_states(std::span<const float> states) const {
    return view_of(states, integer(files_.config.width)).to(device_, decoder_.state_type());
  }

  // Lays out the steps' rows, and makes states_ of what they begin with.
  void enter(std::span<const SequenceStep> steps) {
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> positions;
    step_begin_.clear();
    for (const SequenceStep& step : steps) {
      step_begin_.push_back(tokens.size());
      const std::size_t first = torch_cache(step).length();
      for (std::size_t i = 0; i < step.tokens.size(); ++i) {
        tokens.push_back(step.tokens[i].value);
        positions.push_back(integer(first + i));
      }
    }
    const at::Tensor where = index_tensor(positions, device_);
    states_ = decoder_.embed(index_tensor(tokens, device_), where, nullptr);
    angles_ = decoder_.angles(where);
    for (std::size_t s = 0; s < steps.size(); ++s) {
      if (!steps[s].entering) continue;
      states_.narrow(0, integer(step_begin_[s]), integer(steps[s].tokens.size()))
          .copy_(to_states(steps[s].entering->hidden));
    }
  }

  // host_states_ = states_, in float32 where selectors and sinks can look at them.
  void fetch_states() { host_states_ = states_.to(at::kCPU, at::kFloat).contiguous(); }

  [[nodiscard]] LayerRows layer_rows(std::size_t step, std::span<const SequenceStep> steps) const {
    const std::size_t width = files_.config.width;
    const std::size_t count = steps[step].tokens.size();
    const float* const begin = host_states_.data_ptr<float>() + step_begin_[step] * width;
    return {.first = Position{static_cast<std::int32_t>(steps[step].cache->length())},
            .count = count,
            .width = width,
            .hidden = std::span(begin, count * width)};
  }

  // The one place that asks who runs a layer.
  void select_rows(LayerIndex layer, std::span<const SequenceStep> steps, ForwardOutput& output) {
    running_.clear();
    pieces_.clear();
    const bool asked = std::any_of(steps.begin(), steps.end(), [&](const SequenceStep& step) {
      return step.role == RowRole::routed && !begins_after(step, layer);
    });
    if (asked) fetch_states();
    std::vector<std::size_t> selected;
    for (std::size_t s = 0; s < steps.size(); ++s) {
      const SequenceStep& step = steps[s];
      if (begins_after(step, layer)) continue;
      selected.clear();
      if (step.role == RowRole::prompt) {
        for (std::size_t i = 0; i < step.tokens.size(); ++i) selected.push_back(i);
      } else {
        step.selector->select(layer, layer_rows(s, steps), selected);
      }
      if (selected.empty()) continue;
      // A row reads the keys and values of every position before it.
      TorchKvCache& cache = torch_cache(step);
      const std::size_t first = cache.valid_length(layer);
      for (std::size_t i = 0; i < selected.size(); ++i) {
        if (cache.length() + selected[i] != first + i) {
          throw std::logic_error("position " + std::to_string(cache.length() + selected[i]) +
                                 " runs layer " + std::to_string(layer.number()) +
                                 ", which position " + std::to_string(first + i) + " skipped");
        }
        running_.push_back(integer(step_begin_[s] + selected[i]));
      }
      pieces_.push_back({.step = s,
                         .count = integer(selected.size()),
                         .first_position = integer(first),
                         .cache = &cache});
      output.layers_run[s] += selected.size();
    }
  }

  void run_layer(LayerIndex layer) {
    const bool all = integer(running_.size()) == states_.size(0);
    const at::Tensor rows = all ? at::Tensor() : index_tensor(running_, device_);
    const at::Tensor states = all ? states_ : states_.index_select(0, rows);
    std::vector<RotaryAngles> angles = angles_;
    if (!all) {
      for (RotaryAngles& each : angles) {
        each = {each.cosine.index_select(0, rows), each.sine.index_select(0, rows)};
      }
    }
    const AttentionInputs inputs = decoder_.attention_inputs(layer, states, angles);
    std::vector<at::Tensor> attended;
    std::int64_t begin = 0;
    for (const Piece& piece : pieces_) {
      const auto part = [&](const at::Tensor& tensor) {
        return tensor.narrow(0, begin, piece.count);
      };
      piece.cache->append(layer, part(inputs.key), part(inputs.value));
      attended.push_back(decoder_.attend(layer, part(inputs.query).unsqueeze(0),
                                         piece.cache->keys(layer), piece.cache->values(layer),
                                         piece.first_position));
      begin += piece.count;
    }
    const at::Tensor result = decoder_.finish(
        layer, states, attended.size() == 1 ? attended.front() : at::cat(attended), nullptr);
    if (all) {
      states_ = result;
    } else {
      states_.index_copy_(0, rows, result);
    }
  }

  void write_logits(std::span<const SequenceStep> steps, ForwardOutput& output) const {
    std::vector<std::int64_t> wanted;
    for (std::size_t s = 0; s < steps.size(); ++s) {
      const std::size_t count = steps[s].tokens.size();
      const std::size_t rows = steps[s].logits == LogitRows::all    ? count
                               : steps[s].logits == LogitRows::last ? 1
                                                                    : 0;
      for (std::size_t i = count - rows; i < count; ++i) {
        wanted.push_back(integer(step_begin_[s] + i));
      }
    }
    write_logits(states_.index_select(0, index_tensor(wanted, device_)), output);
  }

  void write_logits(const at::Tensor& states, ForwardOutput& output) const {
    const std::size_t vocabulary = files_.config.vocabulary;
    output.vocabulary = vocabulary;
    output.logit_rows = static_cast<std::size_t>(states.size(0));
    if (output.logit_rows == 0) return;
    output.logits.reserve(output.logit_rows * vocabulary);
    output.logit_maxima.reserve(output.logit_rows * output.logit_blocks());
    view_of(output.logits.span().first(output.logit_rows * vocabulary), integer(vocabulary))
        .copy_(decoder_.head(states));
    for (std::size_t row = 0; row < output.logit_rows; ++row) {
      find_maxima(
          output.logits.span().subspan(row * vocabulary, vocabulary),
          output.logit_maxima.span().subspan(row * output.logit_blocks(), output.logit_blocks()));
    }
  }

  ModelFiles files_;
  at::Device device_;
  at::ScalarType type_;
  Parameters parameters_;
  Decoder decoder_;

  // Of the pass at hand.
  std::vector<std::size_t> step_begin_;  // the first row of each step
  at::Tensor states_;                    // [rows][width]
  at::Tensor host_states_;
  std::vector<RotaryAngles> angles_;
  std::vector<std::int64_t> running_;  // the rows that run the layer at hand
  std::vector<Piece> pieces_;
};

TorchModel::TorchModel(ModelFiles files, const TorchOptions& options)
    : implementation_(std::make_unique<Implementation>(std::move(files), options)) {}

TorchModel::~TorchModel() = default;

const ModelConfig& TorchModel::config() const { return implementation_->files().config; }

const ModelFiles& TorchModel::files() const { return implementation_->files(); }

std::unique_ptr<KvCache> TorchModel::new_cache(std::size_t capacity) const {
  const c10::InferenceMode guard;
  return implementation_->new_cache(capacity);
}

void TorchModel::forward(std::span<const SequenceStep> steps, ForwardOutput& output,
                         HiddenStateSink* sink) {
  const c10::InferenceMode guard;
  implementation_->forward(steps, output, sink);
}

void TorchModel::final_norm(std::span<const float> hidden, std::span<float> normed) {
  const c10::InferenceMode guard;
  implementation_->final_norm(hidden, normed);
}

void TorchModel::head(std::span<const float> hidden, ForwardOutput& output) {
  const c10::InferenceMode guard;
  implementation_->head(hidden, output);
}

}  // namespace fathom
