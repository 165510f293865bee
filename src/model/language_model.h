#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/strong_types.h"
#include "depth/selector.h"
#include "model/model_config.h"

namespace fathom {

/// The keys and values of one sequence. The caller owns it; a model fills and reads it. A cache
/// belongs to the model that made it.
class KvCache {
 public:
  virtual ~KvCache() = default;
  KvCache() = default;
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  /// Positions the sequence has.
  [[nodiscard]] virtual std::size_t length() const = 0;
  /// Positions it may have.
  [[nodiscard]] virtual std::size_t capacity() const = 0;
  /// Positions from 0 for which this layer has keys and values, or owes them and can form them when
  /// a token runs it: length() unless tokens on a fixed route skipped it. A token can run a layer
  /// only if all positions before its own are valid there.
  [[nodiscard]] virtual std::size_t valid_length(LayerIndex layer) const = 0;
  /// Positions from 0 that ran every layer, as prompts do.
  [[nodiscard]] virtual std::size_t full_depth_length() const = 0;
  /// Another sequence with the same past, what it owes included. What they have in common is
  /// shared; engine/ goes on sharing full blocks, whichever side writes.
  [[nodiscard]] virtual std::unique_ptr<KvCache> fork() const = 0;
  /// Forgets the positions from `length` on. `length` is at most length().
  virtual void truncate(std::size_t length) = 0;
  /// Memory held for this sequence, what it shares counted whole.
  [[nodiscard]] virtual std::size_t bytes() const = 0;
};

/// What a step's rows are.
enum class RowRole {
  prompt,  ///< run every layer
  routed,  ///< run the layers that the selector chooses
};

/// Which of a step's rows get logits.
enum class LogitRows { none, last, all };

/// Hidden states computed before, from which rows go on: [tokens][width], those that enter `layer`.
struct EnteringStates {
  LayerIndex layer;
  std::span<const float> hidden;
};

/// Consecutive tokens of one sequence, to be appended to its cache in one forward pass.
struct SequenceStep {
  KvCache* cache = nullptr;
  std::span<const TokenId> tokens;  ///< at least one
  RowRole role = RowRole::prompt;
  const Selector* selector = nullptr;  ///< required for routed rows
  /// Where the rows begin; at their embeddings if this is not given. The layers before it are not
  /// run and the cache gets nothing for them, as if the rows had skipped them. Routes that begin
  /// alike can so share what they have in common.
  std::optional<EnteringStates> entering = std::nullopt;
  LogitRows logits = LogitRows::last;
};

/// Logits are noted in blocks of so many.
inline constexpr std::size_t logit_block = 16;

/// The logits of one row.
struct LogitRow {
  std::span<const float> values;  ///< [vocabulary]
  /// The greatest of each logit_block values in turn, NaNs passed over, minus infinity where no
  /// value is a number: who looks for large logits need not read all. May be empty: not known.
  std::span<const float> maxima = {};
};

/// What a forward pass gives. Reused from pass to pass, so that nothing is allocated in a loop.
struct ForwardOutput {
  AlignedBuffer<float> logits;        ///< [logit_rows][vocabulary], in the order of the steps
  AlignedBuffer<float> logit_maxima;  ///< [logit_rows][logit_blocks()]: see LogitRow
  std::size_t logit_rows = 0;
  std::size_t vocabulary = 0;
  std::vector<std::uint64_t> layers_run;  ///< for each step, summed over its rows

  [[nodiscard]] std::size_t logit_blocks() const {
    return (vocabulary + logit_block - 1) / logit_block;
  }
  [[nodiscard]] LogitRow logit_row(std::size_t row) const {
    return {.values = logits.span().subspan(row * vocabulary, vocabulary),
            .maxima = logit_maxima.span().subspan(row * logit_blocks(), logit_blocks())};
  }
};

/// What every model checks before a pass: throws InputError and std::logic_error as
/// LanguageModel::forward() says.
void check_steps(std::span<const SequenceStep> steps, const ModelConfig& config);
/// Likewise before it makes a cache.
void check_capacity(std::size_t capacity, const ModelConfig& config);

/// Sees the hidden states of a forward pass.
class HiddenStateSink {
 public:
  virtual ~HiddenStateSink() = default;
  /// The states that the rows of step `step` begin with: [count][width].
  virtual void entering(std::size_t step, const LayerRows& rows) = 0;
  /// The states after a layer, before any final norm; a row that skipped it has its input there.
  /// Not called for layers before the one that the step's rows begin with.
  virtual void layer_output(std::size_t step, LayerIndex layer, const LayerRows& rows) = 0;
};

/// A decoder-only language model. Not for use from several threads at once.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  LanguageModel() = default;
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  [[nodiscard]] virtual const ModelConfig& config() const = 0;

  /// An empty cache for up to `capacity` positions; memory is taken as they come. Throws InputError
  /// if `capacity` is 0 or above the model's context.
  [[nodiscard]] virtual std::unique_ptr<KvCache> new_cache(std::size_t capacity) const = 0;

  /// Whether rows on the route of all layers differ from rows on other routes in the layers that
  /// both run, as they do where an adapter leaves full depth alone. Its states are then no
  /// EnteringStates for them.
  [[nodiscard]] virtual bool sets_full_depth_apart() const { return false; }

  /// Runs the steps' tokens and appends them to their caches. Each cache may occur once. A row's
  /// logits do not depend on the other rows, on how a sequence is cut into steps, or on threads:
  /// they are bitwise the same (engine/ only). `sink` may be nullptr. Throws InputError if a cache
  /// would exceed its capacity or a token is outside the vocabulary, std::logic_error if a row runs
  /// a layer that an earlier position skipped on a fixed route; the caches are then as before.
  ///
  /// Where a selector has no fixed route, a layer that a row skips owes keys and values to the rows
  /// after it: those of the state that the row skips it with. They may be formed later than the row
  /// is run, which changes no bit.
  virtual void forward(std::span<const SequenceStep> steps, ForwardOutput& output,
                       HiddenStateSink* sink) = 0;

  /// The final norm of hidden states, [rows][width] both; the states as they are if the model has
  /// none. Throws std::invalid_argument if the sizes differ or are no multiple of the width.
  virtual void final_norm(std::span<const float> hidden, std::span<float> normed) = 0;
  /// The logits of hidden states before the final norm, [rows][width]: those that forward() gives
  /// for rows that end with these states, bit for bit. Writes nothing but the logits of `output`.
  /// Throws std::invalid_argument if the size is no multiple of the width.
  virtual void head(std::span<const float> hidden, ForwardOutput& output) = 0;
};

}  // namespace fathom
