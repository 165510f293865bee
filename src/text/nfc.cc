#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/unicode.h"
#include "text/unicode_tables.h"

namespace fathom {
namespace {

// Hangul syllables are composed by rule: Unicode standard, section 3.12.
constexpr char32_t hangul_base = 0xAC00;
constexpr char32_t leading_base = 0x1100;
constexpr char32_t vowel_base = 0x1161;
constexpr char32_t trailing_base = 0x11A7;
constexpr char32_t leading_count = 19;
constexpr char32_t vowel_count = 21;
constexpr char32_t trailing_count = 28;
constexpr char32_t hangul_count = leading_count * vowel_count * trailing_count;

struct Mark {
  char32_t character;
  std::uint32_t combining_class;
};

std::uint32_t combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const auto& table = unicode_tables::combining_classes;
  const auto* const after =
      std::upper_bound(std::begin(table), std::end(table), c,
                       [](char32_t x, const auto& range) { return x < range.first; });
  if (after == std::begin(table) || c > (after - 1)->last) return 0;
  return (after - 1)->combining_class;
}

void decompose(char32_t c, std::vector<Mark>& out) {
  if (c >= hangul_base && c < hangul_base + hangul_count) {
    const char32_t s = c - hangul_base;
    out.push_back({leading_base + s / (vowel_count * trailing_count), 0});
    out.push_back({vowel_base + s % (vowel_count * trailing_count) / trailing_count, 0});
    if (s % trailing_count != 0) out.push_back({trailing_base + s % trailing_count, 0});
    return;
  }
  const auto& table = unicode_tables::decompositions;
  const auto* const found =
      std::lower_bound(std::begin(table), std::end(table), c,
                       [](const auto& entry, char32_t x) { return entry.a < x; });
  if (found == std::end(table) || found->a != c) {
    out.push_back({c, combining_class(c)});
    return;
  }
  decompose(found->b, out);
  if (found->c != 0) decompose(found->c, out);
}

/// The character that a and b compose to, or 0.
char32_t compose(char32_t a, char32_t b) {
  if (a >= leading_base && a < leading_base + leading_count && b >= vowel_base &&
      b < vowel_base + vowel_count) {
    return hangul_base + ((a - leading_base) * vowel_count + (b - vowel_base)) * trailing_count;
  }
  if (a >= hangul_base && a < hangul_base + hangul_count &&
      (a - hangul_base) % trailing_count == 0 && b > trailing_base &&
      b < trailing_base + trailing_count) {
    return a + (b - trailing_base);
  }
  const auto& table = unicode_tables::compositions;
  const auto* const found = std::lower_bound(std::begin(table), std::end(table), std::pair{a, b},
                                             [](const auto& entry, const auto& key) {
                                               return std::pair{entry.a, entry.b} < key;
                                             });
  return found != std::end(table) && found->a == a && found->b == b ? found->c : 0;
}

/// Marks after a starter go in order of their classes, those of one class in the text's order.
void order_marks(std::vector<Mark>& marks) {
  for (auto begin = marks.begin(); begin != marks.end();) {
    if (begin->combining_class == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, marks.end(),
                                  [](const Mark& mark) { return mark.combining_class == 0; });
    std::stable_sort(begin, end, [](const Mark& a, const Mark& b) {
      return a.combining_class < b.combining_class;
    });
    begin = end;
  }
}

/// Joins each mark to the last starter before it unless one between them stands in the way.
void compose_all(std::vector<Mark>& marks) {
  std::vector<Mark> kept;
  kept.reserve(marks.size());
  std::optional<std::size_t> starter;  // where in `kept`
  for (const Mark& mark : marks) {
    if (starter) {
      const bool adjacent = *starter + 1 == kept.size();
      const bool blocked = !adjacent && kept.back().combining_class >= mark.combining_class;
      if (!blocked) {
        const char32_t composed = compose(kept[*starter].character, mark.character);
        if (composed != 0) {
          kept[*starter].character = composed;
          continue;
        }
      }
    }
    if (mark.combining_class == 0) starter = kept.size();
    kept.push_back(mark);
  }
  marks = std::move(kept);
}

}  // namespace

std::string nfc(std::string_view text) {
  // Below U+0300 (first byte 0xCC) nothing composes or changes.
  const bool unchanged = std::all_of(
      text.begin(), text.end(), [](char byte) { return static_cast<std::uint8_t>(byte) < 0xCC; });
  if (unchanged) return std::string(text);
  std::vector<Mark> marks;
  marks.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Unit unit = first_character(text.substr(i));
    decompose(unit.character, marks);
    i += unit.bytes;
  }
  order_marks(marks);
  compose_all(marks);
  std::string result;
  result.reserve(text.size());
  for (const Mark& mark : marks) append_utf8(result, mark.character);
  return result;
}

}  // namespace fathom
