#include "text/unicode.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "text/unicode_tables.h"

namespace fathom {
namespace {

constexpr std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

/// The end of the run of ASCII that begins at `begin`.
std::size_t skip_ascii(std::string_view text, std::size_t begin) {
  std::size_t i = begin;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  while (i < text.size() && byte_at(text, i) < 0x80) ++i;
  return i;
}

/// The range of `table` that holds the character, or nullptr. The table is sorted.
template <class Range, std::size_t N>
const Range* find_range(const Range (&table)[N], char32_t c) {
  const Range* const after =
      std::upper_bound(std::begin(table), std::end(table), c,
                       [](char32_t x, const Range& range) { return x < range.first; });
  if (after == std::begin(table)) return nullptr;
  const Range* const found = after - 1;
  return c <= found->last ? found : nullptr;
}

}  // namespace

Utf8Unit first_character(std::string_view text) {
  using State = Utf8Unit::State;
  const std::uint8_t lead = byte_at(text, 0);
  if (lead < 0x80) return {lead, 1, State::well_formed};
  std::size_t length = 0;
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xBF;
  char32_t character = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
    character = lead & 0x1FU;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    character = lead & 0x0FU;
    if (lead == 0xE0) low = 0xA0;   // shorter forms exist
    if (lead == 0xED) high = 0x9F;  // surrogates
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    character = lead & 0x07U;
    if (lead == 0xF0) low = 0x90;   // shorter forms exist
    if (lead == 0xF4) high = 0x8F;  // beyond U+10FFFF
  } else {
    return {replacement_character, 1, State::ill_formed};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {replacement_character, i, State::unfinished};
    const std::uint8_t next = byte_at(text, i);
    if (next < low || next > high) return {replacement_character, i, State::ill_formed};
    character = character << 6U | (next & 0x3FU);
    low = 0x80;
    high = 0xBF;
  }
  return {character, length, State::well_formed};
}

Utf8Unit last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (byte_at(text, at) & 0xC0U) == 0x80) --at;
  return first_character(text.substr(at));
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; (i = skip_ascii(text, i)) < text.size();) {
    const Utf8Unit unit = first_character(text.substr(i));
    if (unit.state != Utf8Unit::State::well_formed) return false;
    i += unit.bytes;
  }
  return true;
}

std::string replace_ill_formed(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = skip_ascii(text, i);
    result.append(text, i, end - i);
    i = end;
    if (i == text.size()) break;
    const Utf8Unit unit = first_character(text.substr(i));
    if (unit.state == Utf8Unit::State::well_formed) {
      result.append(text, i, unit.bytes);
    } else {
      append_utf8(result, replacement_character);
    }
    i += unit.bytes;
  }
  return result;
}

std::size_t unfinished_bytes(std::string_view text) {
  for (std::size_t n = 1; n <= 3 && n <= text.size(); ++n) {
    const std::string_view tail = text.substr(text.size() - n);
    const bool continuation = (byte_at(tail, 0) & 0xC0U) == 0x80;
    if (continuation) continue;
    const Utf8Unit unit = first_character(tail);
    return unit.state == Utf8Unit::State::unfinished && unit.bytes == n ? n : 0;
  }
  return 0;
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&text](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6U);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12U);
    put(0x80 | (c >> 6U & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18U);
    put(0x80 | (c >> 12U & 0x3F));
    put(0x80 | (c >> 6U & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return find_range(unicode_tables::numeric, c) != nullptr;
}

bool is_word_character(char32_t c) { return find_range(unicode_tables::word, c) != nullptr; }

std::optional<std::string> with_stand_ins(std::string_view text) {
  std::optional<std::string> result;
  for (std::size_t i = 0; (i = skip_ascii(text, i)) < text.size();) {
    const Utf8Unit unit = first_character(text.substr(i));
    if (unit.character >= std::begin(unicode_tables::stand_ins)->first) {
      const auto* const found = find_range(unicode_tables::stand_ins, unit.character);
      if (found != nullptr) {
        if (!result) result = text;
        std::string stand_in;
        append_utf8(stand_in, found->stand_in);
        result->replace(i, unit.bytes, stand_in);
      }
    }
    i += unit.bytes;
  }
  return result;
}

}  // namespace fathom
