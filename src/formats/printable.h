#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fathom {

/// Text out of a file as messages show it: control and non-ASCII bytes as \xHH, and cut after
/// `longest` bytes. Safe to print whatever the bytes are.
std::string printable(std::string_view text, std::size_t longest);

/// A name out of a file: printable, in single quotes, cut after 80 bytes.
std::string printable_name(std::string_view name);

}  // namespace fathom
