#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace fathom {

/// U+FFFD, which takes the place of bytes that are no UTF-8.
inline constexpr char32_t replacement_character = 0xFFFD;

/// What begins at the front of a text that is not empty.
struct Utf8Unit {
  char32_t character;  ///< replacement_character if the bytes are not well-formed
  std::size_t bytes;   ///< at least 1; of ill-formed bytes, how many one U+FFFD replaces
  enum class State {
    well_formed,
    ill_formed,
    unfinished,  ///< the text ends inside a character that could still become well-formed
  } state;
};

/// Reads the first character of `text`, which must not be empty. Ill-formed bytes are taken as the
/// Unicode standard recommends (section 3.9, "maximal subparts"): the longest beginning of a
/// well-formed character, or else a single byte, counts as one U+FFFD.
Utf8Unit first_character(std::string_view text);

/// The last character of `text`, which must be UTF-8 and not empty.
Utf8Unit last_character(std::string_view text);

[[nodiscard]] bool is_utf8(std::string_view text);

/// The text with ill-formed bytes replaced by U+FFFD, one for each maximal subpart.
std::string replace_ill_formed(std::string_view text);

/// How many bytes at the end of `text` begin a character that is not finished: 0 to 3.
std::size_t unfinished_bytes(std::string_view text);

/// Appends a character's UTF-8. `character` is a Unicode scalar value.
void append_utf8(std::string& text, char32_t character);

/// Unicode's White_Space.
[[nodiscard]] bool is_white_space(char32_t character);
/// Unicode's number categories (Nd, Nl, No).
[[nodiscard]] bool is_numeric(char32_t character);
/// A character of a word: a letter, mark, digit, connector or joiner.
[[nodiscard]] bool is_word_character(char32_t character);

/// The text in Unicode's normalization form C as Hugging Face's NFC normalizer makes it (characters
/// newer than Unicode 9 stay as they are). `text` is UTF-8.
std::string nfc(std::string_view text);

/// The text with each character that PCRE2's Unicode 14 classes otherwise than Hugging Face's
/// patterns do replaced by a character of the right category and the same number of bytes. Offsets
/// into one are offsets into the other. Nullopt if there is none such. `text` is UTF-8.
std::optional<std::string> with_stand_ins(std::string_view text);

}  // namespace fathom
