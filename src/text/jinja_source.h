#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// A Jinja template in a normal form in which its parts can be looked for: tags as {%...%} and
/// {{...}} without white space outside string literals, literals in single quotes with their
/// escapes resolved, a message's fields as message['role'], comments gone, and the text between
/// tags as it would be written (trim_blocks and lstrip_blocks on, as Hugging Face transformers sets
/// them). A template that is cut off in a tag gives a normal form that ends there.
std::string normal_form(std::string_view jinja);

}  // namespace fathom
