#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_team.h"
#include "depth/cost.h"
#include "engine/cpu_adapter.h"
#include "engine/cpu_weights.h"
#include "engine/kv_cache.h"
#include "engine/profile.h"
#include "kernels/kernels.h"
#include "kernels/products.h"
#include "model/language_model.h"
#include "model/model_files.h"

namespace fathom {

/// LanguageModel on CPUs: layers that no row runs cost nothing.
class CpuModel final : public LanguageModel {
 public:
  /// Packs the weights of `files`, which it keeps. `team` must outlive the model.
  CpuModel(ModelFiles files, Precision precision, const Kernels& kernels, ThreadTeam& team);

  [[nodiscard]] const ModelConfig& config() const override { return files_.config; }
  [[nodiscard]] std::unique_ptr<KvCache> new_cache(std::size_t capacity) const override;
  [[nodiscard]] bool sets_full_depth_apart() const override;
  void forward(std::span<const SequenceStep> steps, ForwardOutput& output,
               HiddenStateSink* sink) override;
  void final_norm(std::span<const float> hidden, std::span<float> normed) override;
  void head(std::span<const float> hidden, ForwardOutput& output) override;

  [[nodiscard]] const ModelFiles& files() const { return files_; }
  [[nodiscard]] Precision precision() const { return precision_; }
  /// What a decoding step reads of the packed weights, the adapter and the cache.
  [[nodiscard]] TokenBytes token_bytes() const;
  /// Applies an adapter that was opened for this model, from the next pass on, in place of any
  /// other. It acts on the rows that acts_on() says; where keys and values are formed later than
  /// their row was run, on those of the rows that it acts on. Other rows keep their bits. Nothing
  /// of `adapter` is referred to afterwards.
  void set_adapter(const LoraAdapter& adapter);
  [[nodiscard]] bool has_adapter() const { return adapter_ != nullptr; }
  /// Adds what each operation of the passes from now on takes to `profile`, which must outlive
  /// them; nullptr ends that. It costs a little time itself.
  void set_profile(Profile* profile) { profile_ = profile; }
  /// How many positions of a sequence may owe a layer keys and values: once there are so many (at
  /// least 1), they are formed even if no token runs the layer. Fewer take less memory, more read
  /// the weights less often; no result depends on it.
  void set_most_owed(std::size_t positions) { most_owed_ = positions; }

 private:
  // A row of a forward pass: which step, cache and position of its sequence it is.
  struct Row {
    std::size_t step;
    BlockKvCache* cache;
    std::size_t position;
  };

  // Attention of query heads that share keys and values, of rows of a sequence, to parts of it.
  struct AttentionPiece {
    WorkRange rows;  // of running_
    WorkRange heads;
    WorkRange parts;
    std::size_t first_query = 0;  // in part_states_
  };

  // A position that owes a layer its keys and values, and the state that it skipped the layer with.
  struct OwingRow {
    BlockKvCache* cache;
    std::size_t position;
    const float* state;
  };

  // Up to which position the layer at hand will have keys and values.
  struct Storing {
    BlockKvCache* cache;
    std::size_t end;
  };

  // What the adapter adds to the maps of a group; those without weights get nothing.
  using Addends = std::array<LowRankAddend, 3>;

  // Of one of the model's rotations, for the rows of a pass.
  struct Angles {
    AlignedBuffer<float> cosines, sines;  // [rows][dimensions / 2]
  };

  void enter(std::span<const SequenceStep> steps);
  void quantize_rows(Activations& activations);
  void project_embeddings();
  void add_positions();
  template <class PositionOf>
  void rotary_angles(std::size_t rotary, std::size_t count, const PositionOf& position_of,
                     Angles& angles);
  void select_rows(LayerIndex layer, std::span<const SequenceStep> steps, ForwardOutput& output);
  void find_margins(LayerIndex layer, std::span<const SequenceStep> steps);
  void note_adapted_rows(std::span<const SequenceStep> steps);
  [[nodiscard]] Addends adapt(LayerIndex layer, std::optional<AdapterGroup> AdapterLayer::*member,
                              const Activations& activations, std::span<const std::uint8_t> acts);
  void note_rows(LayerIndex layer, std::size_t step, std::span<const SequenceStep> steps);
  void collect_owed(LayerIndex layer, BlockKvCache& cache, std::size_t end);
  void pay_owed(LayerIndex layer);
  void run_layer(LayerIndex layer);
  void normalize_heads(const PackedNorm& norm, float* heads, std::size_t count) const;
  void rotate_heads(LayerIndex layer, const std::vector<Angles>& angles, std::size_t row,
                    float* heads, std::size_t count) const;
  void rotate_and_store(LayerIndex layer);
  void group_rows(std::size_t most);
  [[nodiscard]] std::size_t first_seen(LayerIndex layer, const Row& row) const;
  [[nodiscard]] WorkRange parts_seen(LayerIndex layer, const WorkRange& rows) const;
  void attend_piece(LayerIndex layer, const AttentionPiece& piece, float* states, int worker);
  void attend(LayerIndex layer);
  template <class HeadsOf>
  void attend_whole(LayerIndex layer, std::size_t pieces, const HeadsOf& heads_of);
  template <class HeadsOf>
  void attend_in_parts(LayerIndex layer, std::size_t pieces, const HeadsOf& heads_of);
  [[nodiscard]] Volume attention_volume(LayerIndex layer) const;
  template <class Run>
  void run_operation(Operation operation, const Volume& volume, const Run& run);
  void normalize(const PackedNorm& norm, const float* x, std::size_t size, float* out) const;
  template <class StateOf>
  void read_states(std::size_t count, const StateOf& state_of, const PackedNorm* norm,
                   ActivationQuantization quantization,
                   std::initializer_list<const PackedMatrix*> readers);
  void read_hidden(const PackedNorm* norm, ActivationQuantization quantization,
                   std::initializer_list<const PackedMatrix*> readers);
  template <class StateOf>
  void read_attention_input(const PackedLayer& weights, std::size_t count, const StateOf& state_of);
  void finish_block(const PackedNorm& norm, const std::optional<PackedNorm>& output_norm);
  void feed_forward(LayerIndex layer);
  void project_to_head(const PackedLinear& map);
  void logits_of_running_rows(ForwardOutput& output);
  [[nodiscard]] LayerRows layer_rows(std::size_t step, std::span<const SequenceStep> steps) const;
  [[nodiscard]] float* hidden(std::size_t row) { return hidden_.data() + row * config().width; }

  ModelFiles files_;
  Precision precision_;
  const Kernels& kernels_;
  ThreadTeam& team_;
  CpuWeights weights_;
  std::unique_ptr<const CpuAdapter> adapter_;  // nullptr: none
  CacheLayout cache_layout_;
  std::shared_ptr<CachePool> cache_pool_;
  std::vector<std::vector<float>> rotary_frequencies_;  // of each of the model's rotations
  Profile* profile_ = nullptr;
  std::size_t most_owed_ = 64;  // as many rows as products are fast with

  // Scratch of one forward pass, kept so that a decoding loop allocates nothing.
  std::vector<Row> rows_;
  std::vector<std::size_t> step_begin_;  // the first row of each step
  std::vector<std::size_t> running_;     // the rows that run the layer at hand
  std::vector<std::size_t> selected_;
  std::vector<std::uint8_t> step_adapted_;   // of each step, whether the adapter acts on its rows
  std::vector<std::uint8_t> adapted_;        // of running_, likewise; empty if it acts on none
  std::vector<std::uint8_t> owing_adapted_;  // of owing_, likewise
  std::vector<float> margins_;               // of each row, for the selectors that need them
  std::vector<std::uint8_t> margin_known_;   // whether the row's state is still the one it is of
  ForwardOutput margin_output_;              // the logits that the margins are taken from
  std::vector<OwingRow> owing_;              // what is formed at the layer at hand
  std::vector<Storing> storing_;             // likewise
  std::vector<WorkRange> row_groups_;        // of running_, for attention
  AlignedBuffer<float> hidden_;              // [rows][width]
  std::vector<Angles> angles_;               // of each of the model's rotations
  std::vector<Angles> owing_angles_;         // of owing_
  Activations embedded_;                     // [entering][embedding width]
  Activations normed_;                       // [running][width]
  AlignedBuffer<float> qkv_;                 // [running][query, key and value widths]
  Activations attended_;                     // [running][query width]
  Activations ffn_;                          // [running][ffn_width]
  AlignedBuffer<float> delta_;               // [running][width]
  Activations coefficients_;                 // [running or owing][ranks of the maps at hand]
  Activations projected_;                    // [running][embedding width]
  std::vector<AlignedBuffer<float>> attention_scratch_;  // for each worker
  std::vector<AlignedBuffer<float>> attention_states_;   // for each worker, [attention_queries]
  std::vector<AttentionPiece> attention_pieces_;         // of rows whose parts are shared out
  AlignedBuffer<float> part_states_;                     // theirs
};

}  // namespace fathom
