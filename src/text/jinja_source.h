#pragma once

#include <string>
#include <string_view>

namespace fathom {

/// A Jinja template in a form in which its parts can be looked for.
struct JinjaSource {
  /// Tags as {%...%} and {{...}} without white space outside string literals, literals in single
  /// quotes with their escapes resolved, a message's fields as message['role'], no comments, and
  /// between the tags the text that is written (trim_blocks and lstrip_blocks on, as Hugging Face
  /// transformers sets them).
  std::string text;
  /// The text between tags alone.
  std::string between_tags;
};

/// Never fails: a template that is cut off in a tag gives a text that ends there.
JinjaSource read_jinja(std::string_view jinja);

}  // namespace fathom
