#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <vector>

#include "base/arena.h"
#include "base/thread_team.h"
#include "engine/cpu_weights.h"
#include "kernels/packed_matrix.h"
#include "model/lora_adapter.h"

namespace fathom {

/// What an adapter does to maps that read the same activations x: each y += B c, where c is its
/// part of the product of x with the A of all of them.
struct AdapterGroup {
  struct Map {
    PackedMatrix b;     ///< scale * B, [outputs][rank]
    std::size_t first;  ///< of its coefficients among the group's
  };
  PackedMatrix a;                          ///< one A below the other, [ranks][inputs]
  std::array<std::optional<Map>, 3> maps;  ///< in the order of the group

  [[nodiscard]] std::size_t bytes() const;
};

/// The groups of a layer; those that the adapter leaves alone are not there.
struct AdapterLayer {
  std::optional<AdapterGroup> attention_input;   ///< query, key, value
  std::optional<AdapterGroup> attention_output;  ///< one map
  std::optional<AdapterGroup> ffn_input;         ///< gate, up; without gate the second alone
  std::optional<AdapterGroup> down;              ///< one map

  [[nodiscard]] std::size_t bytes() const;
};

/// An adapter's factors in the kernels' layout. `exact` keeps them in float32. `fast` has B in
/// float16, and A in 8 bits where the maps' own weights are integers, else in float16, too: what
/// reads the activations then finds them as the maps do. Factors too large for that stay float32.
class CpuAdapter {
 public:
  /// Packs the factors, of which nothing is referred to afterwards. `weights` are the model's.
  CpuAdapter(const LoraAdapter& adapter, const ModelConfig& config, const CpuWeights& weights,
             Precision precision, ThreadTeam& team);

  [[nodiscard]] AdapterRows rows() const { return rows_; }
  [[nodiscard]] const AdapterLayer& layer(LayerIndex index) const { return layers_[index.index()]; }

 private:
  AdapterRows rows_;
  Arena arena_;  // of all matrices
  std::vector<AdapterLayer> layers_;
};

}  // namespace fathom
