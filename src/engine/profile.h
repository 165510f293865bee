#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fathom {

/// What a forward pass consists of, in its order.
enum class Operation : std::uint8_t {
  embedding,         ///< looks up the tokens' rows and the angles of their positions
  norm,              ///< norms, with the quantisation of what the products read
  query_key_value,   ///< product
  rotary_and_store,  ///< rotates queries and keys, writes keys and values to the cache
  attention,         ///< with the quantisation of its result
  attention_output,  ///< product
  gate_and_up,       ///< product, with the activation function and the quantisation of its result
  down,              ///< product
  adapter,           ///< product: what its factors make of the products' inputs
  residual,          ///< adds a block's output to the hidden states
  head,              ///< product
  sampling,          ///< chooses tokens; added by who does
};
inline constexpr std::size_t operation_count = 12;

std::string_view name(Operation operation);

/// Whether its time is that of a product with weights.
bool is_weight_product(Operation operation);

/// What an operation has to do. Activations are not counted as bytes.
struct Volume {
  std::uint64_t bytes = 0;          ///< of weights, keys and values that are read, for each row
                                    ///< anew in attention
  std::uint64_t multiply_adds = 0;  ///< of products and attention
};

/// Where the time of forward passes goes.
class Profile {
 public:
  struct Entry {
    std::uint64_t calls = 0;
    double seconds = 0;
    Volume volume;
  };

  void add(Operation operation, const Volume& volume, double seconds);
  [[nodiscard]] const Entry& operator[](Operation operation) const {
    return entries_[static_cast<std::size_t>(operation)];
  }
  /// Of all operations together.
  [[nodiscard]] double seconds() const;

 private:
  std::array<Entry, operation_count> entries_{};
};

}  // namespace fathom
