#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/unicode.h"

namespace fathom {
namespace {

constexpr char32_t character_count = 0x144;

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<std::int16_t, character_count> byte{};  // -1: stands for none
};

constexpr bool is_printable(std::size_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  char32_t next = 0x100;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const char32_t c = is_printable(byte) ? static_cast<char32_t>(byte) : next++;
    alphabet.character[byte] = c;
    alphabet.byte[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet alphabet = make_alphabet();

}  // namespace

void append_as_characters(std::string& text, std::string_view bytes) {
  for (const char byte : bytes) {
    append_utf8(text, alphabet.character[static_cast<std::uint8_t>(byte)]);
  }
}

std::string bytes_of_token(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Unit unit = first_character(text.substr(i));
    if (unit.character >= character_count || alphabet.byte[unit.character] < 0) {
      return std::string(text);
    }
    bytes.push_back(static_cast<char>(alphabet.byte[unit.character]));
    i += unit.bytes;
  }
  return bytes;
}

}  // namespace fathom
