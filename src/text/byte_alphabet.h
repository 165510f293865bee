#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// Byte-level vocabularies write each byte as one printable character: the printable characters of
/// Latin-1 stand for themselves, the other bytes for U+0100 and up, in order.

/// Appends the characters that stand for `bytes`.
void append_as_characters(std::string& text, std::string_view bytes);

/// The bytes that a token's text stands for. If a character of it stands for no byte (an added
/// token may hold any), the token stands for its own UTF-8, as Hugging Face decodes it.
std::string bytes_of_token(std::string_view text);

}  // namespace fathom
