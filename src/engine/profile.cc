#include "engine/profile.h"

namespace fathom {

std::string_view name(Operation operation) {
  switch (operation) {
    case Operation::embedding:
      return "embedding";
    case Operation::norm:
      return "norm";
    case Operation::query_key_value:
      return "query, key, value";
    case Operation::rotary_and_store:
      return "rotary and store";
    case Operation::attention:
      return "attention";
    case Operation::attention_output:
      return "attention output";
    case Operation::gate_and_up:
      return "gate and up";
    case Operation::down:
      return "down";
    case Operation::adapter:
      return "adapter";
    case Operation::residual:
      return "residual";
    case Operation::head:
      return "head";
    case Operation::sampling:
      return "sampling";
  }
  return "";
}

bool is_weight_product(Operation operation) {
  switch (operation) {
    case Operation::query_key_value:
    case Operation::attention_output:
    case Operation::gate_and_up:
    case Operation::down:
    case Operation::adapter:
    case Operation::head:
      return true;
    default:
      return false;
  }
}

void Profile::add(Operation operation, const Volume& volume, double seconds) {
  Entry& entry = entries_[static_cast<std::size_t>(operation)];
  ++entry.calls;
  entry.seconds += seconds;
  entry.volume.bytes += volume.bytes;
  entry.volume.multiply_adds += volume.multiply_adds;
}

double Profile::seconds() const {
  double total = 0;
  for (const Entry& entry : entries_) total += entry.seconds;
  return total;
}

}  // namespace fathom
