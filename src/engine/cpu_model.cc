#include "engine/cpu_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "base/stopwatch.h"
#include "formats/dequantize.h"
#include "formats/quantize.h"
#include "model/softmax.h"

namespace fathom {
namespace {

// The fewest rows a worker should get before row-wise work is shared out: below, waking the team
// costs more than it saves.
constexpr std::size_t rows_per_worker = 4;

// The same of heads whose keys and values are stored.
constexpr std::size_t stored_heads_per_worker = 8;

// So many pieces of attention a worker are enough to share them out evenly; fewer are cut up.
constexpr std::size_t pieces_per_worker = 4;

// Where int8 activations cost the most accuracy for their share of the work: the products behind
// the attention norm (15% of a layer's) and the output head. docs/kernels.md has the measurement.
constexpr auto sensitive = ActivationQuantization::int8_residual;

BlockKvCache& block_cache(const SequenceStep& step) {
  auto* const cache = dynamic_cast<BlockKvCache*>(step.cache);
  if (cache == nullptr) throw std::logic_error("the cache was not made by this kind of model");
  return *cache;
}

bool begins_after(const SequenceStep& step, LayerIndex layer) {
  return step.entering && step.entering->layer > layer;
}

// Whether a matrix that reads some activations wants them in int8. Its rows then are whole blocks
// of 32, and so are the activations'.
bool any_integer(std::initializer_list<const PackedMatrix*> readers) {
  return std::any_of(readers.begin(), readers.end(),
                     [](const PackedMatrix* reader) { return is_integer(reader->form()); });
}

const LowRankAddend* addend(const LowRankAddend& adapter) {
  return adapter.weights == nullptr ? nullptr : &adapter;
}

Volume product_volume(std::size_t rows, std::initializer_list<const PackedMatrix*> weights) {
  Volume volume;
  for (const PackedMatrix* const matrix : weights) {
    volume.bytes += matrix->bytes();
    volume.multiply_adds += rows * matrix->rows() * matrix->columns();
  }
  return volume;
}

}  // namespace

CpuModel::CpuModel(ModelFiles files, Precision precision, const Kernels& kernels, ThreadTeam& team)
    : files_(std::move(files)),
      precision_(precision),
      kernels_(kernels),
      team_(team),
      weights_(files_.tensors, files_.config, precision, team),
      cache_layout_(files_.config,
                    precision == Precision::exact ? CacheElement::float32 : kernels.fast_cache),
      cache_pool_(CachePool::create(cache_layout_.block_bytes())),
      angles_(files_.config.rotaries.size()),
      owing_angles_(files_.config.rotaries.size()) {
  for (const RotaryConfig& rotary : files_.config.rotaries) {
    rotary_frequencies_.push_back(rotary_frequencies(rotary));
  }
  for (int worker = 0; worker < team_.size(); ++worker) {
    attention_scratch_.emplace_back(
        attention_scratch_floats(cache_layout_.head_dim, cache_layout_.value_stride));
    attention_states_.emplace_back(attention_queries *
                                   attention_state_floats(cache_layout_.value_stride));
  }
}

std::unique_ptr<KvCache> CpuModel::new_cache(std::size_t capacity) const {
  check_capacity(capacity, config());
  return std::make_unique<BlockKvCache>(cache_layout_, cache_pool_, capacity);
}

void CpuModel::set_adapter(const LoraAdapter& adapter) {
  adapter_ = std::make_unique<const CpuAdapter>(adapter, config(), weights_, precision_, team_);
}

bool CpuModel::sets_full_depth_apart() const {
  return adapter_ != nullptr && adapter_->rows() == AdapterRows::routed;
}

TokenBytes CpuModel::token_bytes() const {
  TokenBytes bytes = weights_.token_bytes();
  if (adapter_ != nullptr) {
    bytes.adapter_at_full_depth = !sets_full_depth_apart();
    for (LayerIndex layer{0}; layer.value < config().depth(); ++layer) {
      bytes.adapter.push_back(adapter_->layer(layer).bytes());
    }
  }
  bytes.cache_per_position = cache_layout_.block_bytes() / cache_block_positions;
  return bytes;
}

// Lays out the steps' rows and fills hidden_ with what they begin with.
void CpuModel::enter(std::span<const SequenceStep> steps) {
  rows_.clear();
  step_begin_.clear();
  running_.clear();  // here the rows that begin with their embedding
  for (std::size_t s = 0; s < steps.size(); ++s) {
    step_begin_.push_back(rows_.size());
    BlockKvCache& cache = block_cache(steps[s]);
    for (std::size_t i = 0; i < steps[s].tokens.size(); ++i) {
      if (!steps[s].entering) running_.push_back(rows_.size());
      rows_.push_back({s, &cache, cache.length() + i});
    }
  }
  margins_.resize(rows_.size());
  margin_known_.assign(rows_.size(), 0);
  const std::size_t width = config().width;
  hidden_.reserve(rows_.size() * width);
  for (std::size_t s = 0; s < steps.size(); ++s) {
    if (!steps[s].entering) continue;
    const std::span<const float> states = steps[s].entering->hidden;
    std::copy(states.begin(), states.end(), hidden(step_begin_[s]));
  }
  const bool projected = weights_.project_in() != nullptr;
  if (projected) {
    embedded_.resize(running_.size(), config().embedding_width,
                     ActivationQuantization::int8_residual);
  }
  const TensorView& embedding = files_.tensors.embedding;
  team_.run_shares(running_.size(), rows_per_worker, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const Row& row = rows_[running_[i]];
      const TokenId token = steps[row.step].tokens[running_[i] - step_begin_[row.step]];
      float* const out = projected ? embedded_.row(i) : hidden(running_[i]);
      read_row(embedding, token.index(), std::span(out, config().embedding_width));
      if (config().embedding_scale != 1) {
        kernels_.scale(out, config().embedding_scale, config().embedding_width);
      }
    }
  });
  if (projected) project_embeddings();
  if (files_.tensors.positions) add_positions();
}

void CpuModel::quantize_rows(Activations& activations) {
  team_.run_shares(activations.rows(), rows_per_worker, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) activations.quantize_row(kernels_, i);
  });
}

// hidden_ = project_in(embedded_) for the rows that begin with their embedding.
void CpuModel::project_embeddings() {
  const std::size_t width = config().width;
  const PackedLinear& map = *weights_.project_in();
  if (any_integer({&map.weight})) quantize_rows(embedded_);
  delta_.reserve(running_.size() * width);
  const std::array product{Product{.map = map.map(), .out = delta_.data(), .out_stride = width}};
  multiply(team_, kernels_, embedded_, product);
  for (std::size_t i = 0; i < running_.size(); ++i) {
    std::copy_n(delta_.data() + i * width, width, hidden(running_[i]));
  }
}

// Adds their positions' embeddings to the rows that begin with their token's.
void CpuModel::add_positions() {
  const std::size_t width = config().width;
  const TensorView& positions = *files_.tensors.positions;
  delta_.reserve(running_.size() * width);
  team_.run_shares(running_.size(), rows_per_worker, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t position = rows_[running_[i]].position + *config().learned_positions;
      float* const embedding = delta_.data() + i * width;
      read_row(positions, position, std::span(embedding, width));
      kernels_.add(hidden(running_[i]), embedding, width);
    }
  });
}

// The angles of one of the model's rotations at the positions of some rows.
template <class PositionOf>
void CpuModel::rotary_angles(std::size_t rotary, std::size_t count, const PositionOf& position_of,
                             Angles& angles) {
  const std::vector<float>& frequencies = rotary_frequencies_[rotary];
  const std::size_t half = frequencies.size();
  angles.cosines.reserve(count * half);
  angles.sines.reserve(count * half);
  const float factor = rotary_attention_factor(config().rotaries[rotary]);
  team_.run_shares(count, rows_per_worker, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      const auto position = static_cast<float>(position_of(r));
      for (std::size_t i = 0; i < half; ++i) {
        const float angle = position * frequencies[i];
        angles.cosines.data()[r * half + i] = std::cos(angle) * factor;
        angles.sines.data()[r * half + i] = std::sin(angle) * factor;
      }
    }
  });
}

LayerRows CpuModel::layer_rows(std::size_t step, std::span<const SequenceStep> steps) const {
  const std::size_t count = steps[step].tokens.size();
  const std::size_t width = config().width;
  return {.first = Position{static_cast<std::int32_t>(steps[step].cache->length())},
          .count = count,
          .width = width,
          .hidden = hidden_.span().subspan(step_begin_[step] * width, count * width),
          .margins = std::span(margins_).subspan(step_begin_[step], count)};
}

// The margins of the rows whose selectors need them at a layer, in one product for all.
void CpuModel::find_margins(LayerIndex layer, std::span<const SequenceStep> steps) {
  running_.clear();
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const SequenceStep& step = steps[s];
    if (begins_after(step, layer) || step.role == RowRole::prompt ||
        !step.selector->needs_margins(layer)) {
      continue;
    }
    for (std::size_t i = 0; i < step.tokens.size(); ++i) {
      const std::size_t row = step_begin_[s] + i;
      if (margin_known_[row] == 0) running_.push_back(row);
    }
  }
  if (running_.empty()) return;
  logits_of_running_rows(margin_output_);
  team_.run_shares(running_.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      margins_[running_[i]] = softmax_margin(margin_output_.logit_row(i));
    }
  });
  for (const std::size_t row : running_) margin_known_[row] = 1;
}

// The one place that asks who runs a layer.
void CpuModel::select_rows(LayerIndex layer, std::span<const SequenceStep> steps,
                           ForwardOutput& output) {
  find_margins(layer, steps);
  running_.clear();
  owing_.clear();
  storing_.clear();
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const SequenceStep& step = steps[s];
    if (begins_after(step, layer)) continue;
    selected_.clear();
    if (step.role == RowRole::prompt) {
      for (std::size_t i = 0; i < step.tokens.size(); ++i) selected_.push_back(i);
    } else {
      step.selector->select(layer, layer_rows(s, steps), selected_);
    }
    note_rows(layer, s, steps);
    output.layers_run[s] += selected_.size();
  }
  if (adapter_ != nullptr) note_adapted_rows(steps);
}

// Notes which of the rows at hand the adapter acts on.
void CpuModel::note_adapted_rows(std::span<const SequenceStep> steps) {
  step_adapted_.clear();
  for (const SequenceStep& step : steps) {
    step_adapted_.push_back(acts_on(adapter_->rows(), step) ? 1 : 0);
  }
  adapted_.clear();
  bool any = false;
  for (const std::size_t row : running_) {
    adapted_.push_back(step_adapted_[rows_[row].step]);
    any = any || adapted_.back() != 0;
  }
  if (!any) adapted_.clear();
  // Only rows without a fixed route owe, and on these every adapter acts, whoever makes them pay.
  owing_adapted_.assign(owing_.size(), 1);
}

// Notes for a step which of its rows run a layer, those of selected_, and which owe it, and makes
// room for what they read.
void CpuModel::note_rows(LayerIndex layer, std::size_t s, std::span<const SequenceStep> steps) {
  const SequenceStep& step = steps[s];
  BlockKvCache& cache = *rows_[step_begin_[s]].cache;
  const bool may_owe = step.role == RowRole::routed && step.selector->fixed_route() == nullptr;
  std::size_t next = 0;  // of selected_
  for (std::size_t i = 0; i < step.tokens.size(); ++i) {
    const std::size_t row = step_begin_[s] + i;
    const std::size_t valid = cache.valid_length(layer);
    if (next < selected_.size() && selected_[next] == i) {
      // A row reads the keys and values of every position before it.
      if (rows_[row].position != valid) {
        throw std::logic_error(fmt::format("position {} runs layer {}, which position {} skipped",
                                           rows_[row].position, layer.number(), valid));
      }
      cache.note_run(layer);
      running_.push_back(row);
      margin_known_[row] = 0;
      ++next;
    } else if (may_owe && rows_[row].position == valid) {
      cache.note_owed(layer, {hidden(row), config().width});
    }
  }
  const std::size_t valid = cache.valid_length(layer);
  std::size_t end = cache.stored_length(layer);
  if (!selected_.empty()) end = rows_[running_.back()].position + 1;
  if (valid - end >= most_owed_) end = valid;
  if (end == cache.stored_length(layer)) return;
  collect_owed(layer, cache, end);
  cache.reserve(layer, end);
  storing_.push_back({&cache, end});
}

// Adds to owing_ the positions before `end` that owe a layer.
void CpuModel::collect_owed(LayerIndex layer, BlockKvCache& cache, std::size_t end) {
  for (const OwedState& owed : cache.owed()) {
    if (layer < owed.first || layer >= owed.end || owed.position >= end ||
        owed.position < cache.stored_length(layer)) {
      continue;
    }
    owing_.push_back({&cache, owed.position, owed.values.get()});
  }
}

void CpuModel::normalize(const PackedNorm& norm, const float* x, std::size_t size,
                         float* out) const {
  const float epsilon = config().norm.epsilon;
  if (config().norm.kind == NormKind::layer) {
    kernels_.layer_norm(x, norm.weight.data(), norm.bias.data(), size, epsilon, out);
  } else {
    kernels_.rms_norm(x, norm.weight.data(), size, epsilon, out);
  }
}

// normed_ = norm(states), or just the states if there is no norm, quantised if the matrices that
// read it want that.
template <class StateOf>
void CpuModel::read_states(std::size_t count, const StateOf& state_of, const PackedNorm* norm,
                           ActivationQuantization quantization,
                           std::initializer_list<const PackedMatrix*> readers) {
  const std::size_t width = config().width;
  normed_.resize(count, width, quantization);
  const bool quantize = any_integer(readers);
  team_.run_shares(count, rows_per_worker, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const float* const states = state_of(i);
      if (norm != nullptr) {
        normalize(*norm, states, width, normed_.row(i));
      } else {
        std::copy_n(states, width, normed_.row(i));
      }
      if (quantize) normed_.quantize_row(kernels_, i);
    }
  });
}

// The same of the running rows.
void CpuModel::read_hidden(const PackedNorm* norm, ActivationQuantization quantization,
                           std::initializer_list<const PackedMatrix*> readers) {
  read_states(
      running_.size(), [&](std::size_t i) { return hidden(running_[i]); }, norm, quantization,
      readers);
}

// normed_ = what the queries, keys and values are products of.
template <class StateOf>
void CpuModel::read_attention_input(const PackedLayer& weights, std::size_t count,
                                    const StateOf& state_of) {
  const bool norm_first = config().norm.placement != NormPlacement::after;
  run_operation(Operation::norm, {}, [&] {
    read_states(count, state_of, norm_first ? &weights.attention_norm : nullptr, sensitive,
                {&weights.query.weight, &weights.key.weight, &weights.value.weight});
  });
}

// Adds what a block has left in delta_ to the running rows, with the norms that belong there.
void CpuModel::finish_block(const PackedNorm& norm, const std::optional<PackedNorm>& output_norm) {
  const std::size_t width = config().width;
  const bool norm_after = config().norm.placement == NormPlacement::after;
  team_.run_shares(running_.size(), rows_per_worker, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      float* const states = hidden(running_[i]);
      float* const output = delta_.data() + i * width;
      if (output_norm) normalize(*output_norm, output, width, output);
      kernels_.add(states, output, width);
      if (norm_after) normalize(norm, states, width, states);
    }
  });
}

// Norms heads that lie side by side, each by itself.
void CpuModel::normalize_heads(const PackedNorm& norm, float* heads, std::size_t count) const {
  const std::size_t head_dim = config().head_dim;
  for (std::size_t head = 0; head < count; ++head) {
    normalize(norm, heads + head * head_dim, head_dim, heads + head * head_dim);
  }
}

// Rotates heads that lie side by side as the layer does, by the angles of a row.
void CpuModel::rotate_heads(LayerIndex layer, const std::vector<Angles>& angles, std::size_t row,
                            float* heads, std::size_t count) const {
  const std::optional<std::size_t> rotary = config().attention[layer.index()].rotary;
  if (!rotary) return;
  const std::size_t half = rotary_frequencies_[*rotary].size();
  for (std::size_t head = 0; head < count; ++head) {
    kernels_.rotate(heads + head * config().head_dim, angles[*rotary].cosines.data() + row * half,
                    angles[*rotary].sines.data() + row * half, half);
  }
}

// Rotates queries and keys in qkv_ and stores keys and values.
void CpuModel::rotate_and_store(LayerIndex layer) {
  const std::size_t query_width = config().query_width();
  const std::size_t kv_width = config().kv_width();
  const std::size_t qkv_width = query_width + 2 * kv_width;
  const std::size_t kv_heads = config().kv_heads;
  const std::size_t group = config().heads / kv_heads;
  const std::size_t head_dim = config().head_dim;
  team_.run_shares(
      running_.size() * kv_heads, stored_heads_per_worker, [&](std::size_t begin, std::size_t end) {
        for (std::size_t item = begin; item < end; ++item) {
          const std::size_t row = running_[item / kv_heads];
          const std::size_t kv_head = item % kv_heads;
          float* const queries = qkv_.data() + item / kv_heads * qkv_width;
          float* const key = queries + query_width + kv_head * head_dim;
          rotate_heads(layer, angles_, row, queries + kv_head * group * head_dim, group);
          rotate_heads(layer, angles_, row, key, 1);
          rows_[row].cache->store(kernels_, layer, rows_[row].position, kv_head, key,
                                  key + kv_width);
        }
      });
}

// What the adapter adds to the maps that read some activations, with its product of these.
CpuModel::Addends CpuModel::adapt(LayerIndex layer,
                                  std::optional<AdapterGroup> AdapterLayer::*member,
                                  const Activations& activations,
                                  std::span<const std::uint8_t> acts) {
  Addends addends;
  if (adapter_ == nullptr || acts.empty()) return addends;
  const std::optional<AdapterGroup>& group = adapter_->layer(layer).*member;
  if (!group) return addends;
  coefficients_.resize(activations.rows(), group->a.rows(), ActivationQuantization::int8);
  const ActivationView coefficients = coefficients_.view();
  const std::array product{Product{.map = {.weights = &group->a},
                                   .out = coefficients_.row(0),
                                   .out_stride = coefficients.stride}};
  run_operation(Operation::adapter, product_volume(activations.rows(), {&group->a}),
                [&] { multiply(team_, kernels_, activations, product); });
  for (std::size_t i = 0; i < addends.size(); ++i) {
    const std::optional<AdapterGroup::Map>& map = group->maps[i];
    if (!map) continue;
    addends[i] = {.weights = &map->b, .coefficients = coefficients, .acts = acts};
    addends[i].coefficients.values += map->first;
  }
  return addends;
}

// Forms and stores the keys and values of owing_: what run_layer() does, as far as they go.
void CpuModel::pay_owed(LayerIndex layer) {
  const PackedLayer& weights = weights_.layer(layer);
  const std::size_t count = owing_.size();
  const std::size_t kv_width = config().kv_width();
  read_attention_input(weights, count, [&](std::size_t i) { return owing_[i].state; });
  qkv_.reserve(count * 2 * kv_width);
  const Addends addends = adapt(layer, &AdapterLayer::attention_input, normed_, owing_adapted_);
  const std::array key_value{
      Product{.map = weights.key.map(addend(addends[1])),
              .out = qkv_.data(),
              .out_stride = 2 * kv_width},
      Product{.map = weights.value.map(addend(addends[2])),
              .out = qkv_.data() + kv_width,
              .out_stride = 2 * kv_width},
  };
  run_operation(Operation::query_key_value,
                product_volume(count, {&weights.key.weight, &weights.value.weight}),
                [&] { multiply(team_, kernels_, normed_, key_value); });
  run_operation(Operation::rotary_and_store, {}, [&] {
    if (const auto rotary = config().attention[layer.index()].rotary) {
      rotary_angles(
          *rotary, count, [&](std::size_t i) { return owing_[i].position; },
          owing_angles_[*rotary]);
    }
    team_.run_shares(count, rows_per_worker, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        float* const keys = qkv_.data() + i * 2 * kv_width;
        if (weights.key_norm) normalize_heads(*weights.key_norm, keys, config().kv_heads);
        rotate_heads(layer, owing_angles_, i, keys, config().kv_heads);
        for (std::size_t head = 0; head < config().kv_heads; ++head) {
          const float* const key = keys + head * config().head_dim;
          owing_[i].cache->store(kernels_, layer, owing_[i].position, head, key, key + kv_width);
        }
      }
    });
  });
}

// Puts together rows of one sequence, up to `most` of them, as ranges of running_.
void CpuModel::group_rows(std::size_t most) {
  row_groups_.clear();
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (row_groups_.empty() || row_groups_.back().end - row_groups_.back().begin == most ||
        rows_[running_[i]].step != rows_[running_[i - 1]].step) {
      row_groups_.push_back({i, i});
    }
    ++row_groups_.back().end;
  }
}

// The first position that a row sees in a layer.
std::size_t CpuModel::first_seen(LayerIndex layer, const Row& row) const {
  const std::size_t positions = row.position + 1;
  return positions -
         std::min(positions, config().attention[layer.index()].window.value_or(positions));
}

// The parts of the sequence that some rows see.
WorkRange CpuModel::parts_seen(LayerIndex layer, const WorkRange& rows) const {
  return {first_seen(layer, rows_[running_[rows.begin]]) / attention_part_positions,
          rows_[running_[rows.end - 1]].position / attention_part_positions + 1};
}

// The states of a piece's queries, which lie at `states`, [rows][heads].
void CpuModel::attend_piece(LayerIndex layer, const AttentionPiece& piece, float* states,
                            int worker) {
  const std::size_t head_dim = config().head_dim;
  const std::size_t qkv_width = config().query_width() + 2 * config().kv_width();
  const std::size_t state_floats = attention_state_floats(cache_layout_.value_stride);
  std::array<AttentionQuery, attention_queries> queries;
  std::size_t count = 0;
  for (std::size_t i = piece.rows.begin; i < piece.rows.end; ++i) {
    for (std::size_t head = piece.heads.begin; head < piece.heads.end; ++head) {
      queries[count] = {.values = qkv_.data() + i * qkv_width + head * head_dim,
                        .first = first_seen(layer, rows_[running_[i]]),
                        .end = rows_[running_[i]].position + 1,
                        .state = states + count * state_floats};
      ++count;
    }
  }
  const std::size_t kv_head = piece.heads.begin / (config().heads / config().kv_heads);
  kernels_.attend[static_cast<std::size_t>(cache_layout_.element)](
      {.queries = queries.data(),
       .count = count,
       .first_part = piece.parts.begin,
       .end_part = piece.parts.end,
       .head_dim = head_dim,
       .value_stride = cache_layout_.value_stride,
       .blocks = rows_[running_[piece.rows.begin]].cache->blocks(layer).data(),
       .key_offset = cache_layout_.key_offset(kv_head),
       .value_offset = cache_layout_.value_offset(kv_head),
       .scale = config().attention[layer.index()].scale,
       .scratch = attention_scratch_[static_cast<std::size_t>(worker)].data()});
}

// attended_ = what the queries in qkv_ make of the cache. How queries are put together, and which
// worker takes which part of the positions, does not change their bits.
void CpuModel::attend(LayerIndex layer) {
  const std::size_t heads = config().heads;
  const std::size_t group = heads / config().kv_heads;
  const std::size_t together = std::min(group, attention_queries);
  const std::size_t pieces_of_group = (group + together - 1) / together;
  group_rows(attention_queries / together);
  const std::size_t pieces = config().kv_heads * pieces_of_group;
  const auto heads_of = [&](std::size_t piece) {
    const std::size_t first = piece / pieces_of_group * group + piece % pieces_of_group * together;
    return WorkRange{first, std::min(first + together, (piece / pieces_of_group + 1) * group)};
  };
  attended_.resize(running_.size(), config().query_width(), ActivationQuantization::int8);
  const std::size_t items = row_groups_.size() * pieces;
  if (items >= pieces_per_worker * static_cast<std::size_t>(team_.size())) {
    attend_whole(layer, pieces, heads_of);
  } else {
    attend_in_parts(layer, pieces, heads_of);
  }
}

template <class HeadsOf>
void CpuModel::attend_whole(LayerIndex layer, std::size_t pieces, const HeadsOf& heads_of) {
  const std::size_t groups = row_groups_.size();
  const std::size_t state_floats = attention_state_floats(cache_layout_.value_stride);
  team_.run_shares(groups * pieces, 1, [&](std::size_t begin, std::size_t end, int worker) {
    float* const states = attention_states_[static_cast<std::size_t>(worker)].data();
    for (std::size_t item = begin; item < end; ++item) {
      // Later rows of a prompt see more: the first and the last take turns, so that workers get
      // alike.
      const std::size_t turn = item / pieces;
      const WorkRange rows = row_groups_[turn % 2 == 0 ? turn / 2 : groups - 1 - turn / 2];
      const WorkRange heads = heads_of(item % pieces);
      attend_piece(layer, {.rows = rows, .heads = heads, .parts = parts_seen(layer, rows)}, states,
                   worker);
      const float* state = states;
      for (std::size_t i = rows.begin; i < rows.end; ++i) {
        for (std::size_t head = heads.begin; head < heads.end; ++head, state += state_floats) {
          kernels_.finish_attention(state, config().head_dim, cache_layout_.value_stride,
                                    attended_.row(i) + head * config().head_dim);
        }
      }
    }
  });
}

// For few rows: their parts go to different workers, and are added up in order afterwards.
template <class HeadsOf>
void CpuModel::attend_in_parts(LayerIndex layer, std::size_t pieces, const HeadsOf& heads_of) {
  const std::size_t state_floats = attention_state_floats(cache_layout_.value_stride);
  attention_pieces_.clear();
  std::size_t queries = 0;
  const auto for_all_pieces = [&](const auto& visit) {
    for (const WorkRange& rows : row_groups_) {
      for (std::size_t piece = 0; piece < pieces; ++piece) visit(rows, heads_of(piece));
    }
  };
  for_all_pieces([&](const WorkRange& rows, const WorkRange& piece_heads) {
    const WorkRange parts = parts_seen(layer, rows);
    for (std::size_t part = parts.begin; part < parts.end; ++part) {
      attention_pieces_.push_back(
          {.rows = rows, .heads = piece_heads, .parts = {part, part + 1}, .first_query = queries});
      queries += (rows.end - rows.begin) * (piece_heads.end - piece_heads.begin);
    }
  });
  part_states_.reserve(queries * state_floats);
  team_.run_shares(attention_pieces_.size(), 1,
                   [&](std::size_t begin, std::size_t end, int worker) {
                     for (std::size_t item = begin; item < end; ++item) {
                       const AttentionPiece& piece = attention_pieces_[item];
                       attend_piece(layer, piece,
                                    part_states_.data() + piece.first_query * state_floats, worker);
                     }
                   });
  float* state = part_states_.data();
  for_all_pieces([&](const WorkRange& rows, const WorkRange& piece_heads) {
    const WorkRange range = parts_seen(layer, rows);
    const std::size_t parts = range.end - range.begin;
    const std::size_t of_heads = piece_heads.end - piece_heads.begin;
    const std::size_t of_part = (rows.end - rows.begin) * of_heads;
    for (std::size_t query = 0; query < of_part; ++query, state += state_floats) {
      for (std::size_t part = 1; part < parts; ++part) {
        kernels_.add_attention(state, cache_layout_.value_stride,
                               state + part * of_part * state_floats);
      }
      const std::size_t head = piece_heads.begin + query % of_heads;
      kernels_.finish_attention(
          state, config().head_dim, cache_layout_.value_stride,
          attended_.row(rows.begin + query / of_heads) + head * config().head_dim);
    }
    state += (parts - 1) * of_part * state_floats;
  });
}

// What the attention of the running rows reads and computes.
Volume CpuModel::attention_volume(LayerIndex layer) const {
  const std::size_t window = config().attention[layer.index()].window.value_or(config().context);
  std::uint64_t positions = 0;
  for (const std::size_t row : running_) positions += std::min(rows_[row].position + 1, window);
  return {.bytes = positions * cache_layout_.block_bytes() / cache_block_positions,
          .multiply_adds = positions * 2 * config().query_width()};
}

template <class Run>
void CpuModel::run_operation(Operation operation, const Volume& volume, const Run& run) {
  if (profile_ == nullptr) return run();
  const Stopwatch watch;
  run();
  profile_->add(operation, volume, watch.seconds());
}

void CpuModel::run_layer(LayerIndex layer) {
  const PackedLayer& weights = weights_.layer(layer);
  const std::size_t count = running_.size();
  const std::size_t width = config().width;
  const std::size_t query_width = config().query_width();
  const std::size_t kv_width = config().kv_width();
  const std::size_t qkv_width = query_width + 2 * kv_width;

  const auto product = [&](const PackedLinear& linear, const LowRankAddend& adapter, float* out,
                           std::size_t stride) {
    return Product{.map = linear.map(addend(adapter)), .out = out, .out_stride = stride};
  };

  read_attention_input(weights, count, [&](std::size_t i) { return hidden(running_[i]); });
  qkv_.reserve(count * qkv_width);
  const Addends of_input = adapt(layer, &AdapterLayer::attention_input, normed_, adapted_);
  const std::array qkv{
      product(weights.query, of_input[0], qkv_.data(), qkv_width),
      product(weights.key, of_input[1], qkv_.data() + query_width, qkv_width),
      product(weights.value, of_input[2], qkv_.data() + query_width + kv_width, qkv_width),
  };
  run_operation(
      Operation::query_key_value,
      product_volume(count, {&weights.query.weight, &weights.key.weight, &weights.value.weight}),
      [&] { multiply(team_, kernels_, normed_, qkv); });

  if (weights.query_norm) {
    run_operation(Operation::norm, {}, [&] {
      team_.run_shares(count, rows_per_worker, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
          float* const queries = qkv_.data() + i * qkv_width;
          normalize_heads(*weights.query_norm, queries, config().heads);
          normalize_heads(*weights.key_norm, queries + query_width, config().kv_heads);
        }
      });
    });
  }
  run_operation(Operation::rotary_and_store, {}, [&] { rotate_and_store(layer); });
  run_operation(Operation::attention, attention_volume(layer), [&] {
    attend(layer);
    if (any_integer({&weights.attention_output.weight})) quantize_rows(attended_);
  });
  delta_.reserve(count * width);
  const Addends of_output = adapt(layer, &AdapterLayer::attention_output, attended_, adapted_);
  const std::array attention_output{
      product(weights.attention_output, of_output[0], delta_.data(), width)};
  run_operation(Operation::attention_output,
                product_volume(count, {&weights.attention_output.weight}),
                [&] { multiply(team_, kernels_, attended_, attention_output); });
  run_operation(Operation::residual, {},
                [&] { finish_block(weights.attention_norm, weights.attention_output_norm); });
  feed_forward(layer);
}

void CpuModel::feed_forward(LayerIndex layer) {
  const PackedLayer& weights = weights_.layer(layer);
  const std::size_t count = running_.size();
  const std::size_t width = config().width;
  const PackedLinear* const gate = weights.gate ? &*weights.gate : nullptr;
  const std::initializer_list<const PackedMatrix*> readers{
      gate != nullptr ? &gate->weight : &weights.up.weight, &weights.up.weight};
  const bool norm_first = config().norm.placement != NormPlacement::after;
  run_operation(Operation::norm, {}, [&] {
    read_hidden(norm_first ? &weights.ffn_norm : nullptr, ActivationQuantization::int8, readers);
  });
  ffn_.resize(count, config().ffn_width, ActivationQuantization::int8);
  const Volume volume = gate != nullptr ? product_volume(count, readers)
                                        : product_volume(count, {&weights.up.weight});
  const Addends of_input = adapt(layer, &AdapterLayer::ffn_input, normed_, adapted_);
  const LinearMap up = weights.up.map(addend(of_input[1]));
  run_operation(Operation::gate_and_up, volume, [&] {
    if (gate != nullptr) {
      multiply_gated(team_, kernels_, normed_, gate->map(addend(of_input[0])), up,
                     config().activation, ffn_);
    } else {
      multiply_activated(team_, kernels_, normed_, up, config().activation, ffn_);
    }
    if (any_integer({&weights.down.weight})) quantize_rows(ffn_);
  });
  delta_.reserve(count * width);
  const Addends of_down = adapt(layer, &AdapterLayer::down, ffn_, adapted_);
  const std::array down{Product{
      .map = weights.down.map(addend(of_down[0])), .out = delta_.data(), .out_stride = width}};
  run_operation(Operation::down, product_volume(count, {&weights.down.weight}),
                [&] { multiply(team_, kernels_, ffn_, down); });
  run_operation(Operation::residual, {},
                [&] { finish_block(weights.ffn_norm, weights.ffn_output_norm); });
}

void CpuModel::logits_of_running_rows(ForwardOutput& output) {
  output.vocabulary = config().vocabulary;
  output.logit_rows = running_.size();
  if (running_.empty()) return;
  output.logits.reserve(running_.size() * config().vocabulary);
  output.logit_maxima.reserve(running_.size() * output.logit_blocks());
  const PackedLinear* const project = weights_.project_out();
  const PackedMatrix& reader = project != nullptr ? project->weight : weights_.head();
  run_operation(Operation::norm, {},
                [&] { read_hidden(weights_.output_norm(), sensitive, {&reader}); });
  if (project != nullptr) {
    run_operation(Operation::head, product_volume(running_.size(), {&project->weight}),
                  [&] { project_to_head(*project); });
  }
  static_assert(logit_block == panel_rows);
  const std::array head{Product{.map = {.weights = &weights_.head()},
                                .out = output.logits.data(),
                                .out_stride = config().vocabulary,
                                .maxima = output.logit_maxima.data()}};
  run_operation(Operation::head, product_volume(running_.size(), {&weights_.head()}), [&] {
    multiply(team_, kernels_, project != nullptr ? projected_ : normed_, head);
  });
}

// projected_ = what the head reads of normed_.
void CpuModel::project_to_head(const PackedLinear& map) {
  projected_.resize(running_.size(), config().embedding_width, sensitive);
  if (running_.empty()) return;
  const std::array product{
      Product{.map = map.map(), .out = projected_.row(0), .out_stride = projected_.view().stride}};
  multiply(team_, kernels_, normed_, product);
  if (any_integer({&weights_.head()})) quantize_rows(projected_);
}

void CpuModel::forward(std::span<const SequenceStep> steps, ForwardOutput& output,
                       HiddenStateSink* sink) {
  check_steps(steps, config());
  output.layers_run.assign(steps.size(), 0);
  run_operation(Operation::embedding, {}, [&] {
    enter(steps);
    for (std::size_t k = 0; k < angles_.size(); ++k) {
      rotary_angles(
          k, rows_.size(), [&](std::size_t row) { return rows_[row].position; }, angles_[k]);
    }
  });
  if (sink != nullptr) {
    for (std::size_t s = 0; s < steps.size(); ++s) sink->entering(s, layer_rows(s, steps));
  }
  try {
    for (LayerIndex layer{0}; layer.value < config().depth(); ++layer) {
      select_rows(layer, steps, output);
      if (!owing_.empty()) pay_owed(layer);
      if (!running_.empty()) run_layer(layer);
      for (const Storing& storing : storing_) storing.cache->set_stored(layer, storing.end);
      if (sink == nullptr) continue;
      for (std::size_t s = 0; s < steps.size(); ++s) {
        if (!begins_after(steps[s], layer)) sink->layer_output(s, layer, layer_rows(s, steps));
      }
    }
    running_.clear();
    for (std::size_t s = 0; s < steps.size(); ++s) {
      const std::size_t count = steps[s].tokens.size();
      const std::size_t wanted = steps[s].logits == LogitRows::all    ? count
                                 : steps[s].logits == LogitRows::last ? 1
                                                                      : 0;
      for (std::size_t i = count - wanted; i < count; ++i) running_.push_back(step_begin_[s] + i);
    }
    logits_of_running_rows(output);
  } catch (...) {
    for (const SequenceStep& step : steps) block_cache(step).roll_back();
    throw;
  }
  for (const SequenceStep& step : steps) block_cache(step).advance(step.tokens.size());
}

void CpuModel::final_norm(std::span<const float> states, std::span<float> normed) {
  const std::size_t width = config().width;
  if (states.size() != normed.size() || states.size() % width != 0) {
    throw std::invalid_argument("the final norm takes and gives [rows][width]");
  }
  team_.run_shares(states.size() / width, rows_per_worker, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      if (weights_.output_norm() != nullptr) {
        normalize(*weights_.output_norm(), states.data() + r * width, width,
                  normed.data() + r * width);
      } else {
        std::copy_n(states.data() + r * width, width, normed.data() + r * width);
      }
    }
  });
}

void CpuModel::head(std::span<const float> states, ForwardOutput& output) {
  const std::size_t width = config().width;
  if (states.size() % width != 0) throw std::invalid_argument("the head takes [rows][width]");
  hidden_.reserve(states.size());
  std::copy(states.begin(), states.end(), hidden_.data());
  running_.resize(states.size() / width);
  std::iota(running_.begin(), running_.end(), std::size_t{0});
  logits_of_running_rows(output);
}

}  // namespace fathom
