#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "model/model_config.h"

// What the readers of both kinds of configuration share.

namespace fathom {

// Far above any model; keeps every product of two or three of these numbers inside 64 bits.
inline constexpr std::uint64_t most_layers = 4096;
inline constexpr std::uint64_t most_width = std::uint64_t{1} << 20;
inline constexpr std::uint64_t most_context = std::uint64_t{1} << 30;

/// Where a number stands: fails with the file and key it was read from.
class Place {
 public:
  explicit Place(std::string file) : file_(std::move(file)) {}
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const;
  /// Throws FileError unless 1 <= value <= most.
  std::size_t in_range(std::string_view key, std::uint64_t value, std::uint64_t most) const;
  /// Throws FileError unless the value is finite and above 0.
  double positive(std::string_view key, double value) const;

 private:
  std::string file_;
};

/// Key names, which differ from file to file, for messages.
struct KeyNames {
  std::string heads, kv_heads, head_dim, rotary_dimensions, epsilon;
};

/// A family's name for a kind of file, and what is known of it beyond the file's fields.
struct FamilyName {
  std::string_view name;
  ModelFamily family;
};
/// The family of that name. Throws FileError that lists those there are.
ModelFamily find_family(std::span<const FamilyName> known, std::string_view name,
                        std::string_view key, const Place& place);

/// The activation function of that name, as in Hugging Face's files. Throws FileError that lists
/// those there are.
Activation find_activation(std::string_view name, std::string_view key, const Place& place);

/// A name by which find_activation() finds it.
std::string_view name(Activation activation);

/// What a family is without regard to its file.
ModelConfig family_defaults(ModelFamily family);

/// Gives every layer full attention with a scale of 1/sqrt(head_dim) and the first rotation, if
/// there is one.
void set_full_attention(ModelConfig& config);

/// Throws FileError if the numbers contradict each other.
void check_shapes(const ModelConfig& config, const Place& place, const KeyNames& keys);

/// YaRN with all that a file need not state. Throws FileError if `factor` is below 1.
YarnScaling yarn_of(const Place& place, std::string_view key, double factor, double original);

}  // namespace fathom
