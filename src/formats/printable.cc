#include "formats/printable.h"

#include <fmt/format.h>

namespace fathom {

std::string printable(std::string_view text, std::size_t longest) {
  std::string result;
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  if (text.size() > longest) result += "...";
  return result;
}

std::string printable_name(std::string_view name) {
  return fmt::format("'{}'", printable(name, 80));
}

}  // namespace fathom
