#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace fathom {

/// What a random draw is for. Part of its key, so that draws for different ends never coincide.
enum class RandomPurpose : std::uint32_t {
  route = 1,
  token = 2,
  gate = 3,
  resample = 4,
  split = 5,
  half = 6,
  batch = 7,  ///< which rows train together
  training_route = 8,
  adapter = 9,  ///< what an adapter's factors begin with
  layer_dropout = 10,
  dropout = 11,
  training_gate = 12  ///< the Gumbel variables of gates in training
};

/// A draw's key: everything it depends on, so that a result does not depend on batching, threads or
/// resuming. `sequence` is a row's id (see sequence_key).
struct RandomKey {
  std::uint64_t seed = 0;
  RandomPurpose purpose = RandomPurpose::token;
  std::uint64_t sequence = 0;
  std::uint32_t position = 0;
  std::uint32_t layer = 0;
};

/// A 64-bit key for a row's id (FNV-1a).
std::uint64_t sequence_key(std::string_view id);

/// Four 32-bit words of the counter-based generator Philox4x32-10 [Salmon et al. 2011].
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

/// A stream of draws for one key.
class RandomStream {
 public:
  explicit RandomStream(const RandomKey& key);
  /// Uniform over all 64-bit values.
  std::uint64_t next();
  /// Uniform in [0, 1), in steps of 2^-53.
  double uniform();
  /// Uniform in 0..bound-1, without bias. `bound` must be positive.
  std::uint64_t below(std::uint64_t bound);

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::uint64_t spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace fathom
