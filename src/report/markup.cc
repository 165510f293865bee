#include "report/markup.h"

#include <iterator>

#include <fmt/format.h>

#include "text/unicode.h"

namespace fathom {
namespace {

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t' && c != '\n') || byte == 0x7f;
}

// RFC 3986: what needs no escape in a URL's path, but for the single quote and the ampersand.
bool is_plain_in_url(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~!$()*+,;=:@/").find(c) != std::string_view::npos;
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string html;
  for (const char c : replace_ill_formed(text)) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        if (is_control(c)) {
          append_utf8(html, replacement_character);
        } else {
          html += c;
        }
    }
  }
  return html;
}

std::string script_json(const nlohmann::ordered_json& json) {
  using Json = nlohmann::ordered_json;
  std::string script;
  // All that is not ASCII is escaped. "<" can only be inside a string, where an escape may stand.
  for (const char c : json.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    if (c == '<') {
      script += "\\u003c";
    } else {
      script += c;
    }
  }
  return script;
}

std::string data_url(std::string_view media_type, std::string_view text) {
  std::string url = fmt::format("data:{};charset=utf-8,", media_type);
  for (const char c : replace_ill_formed(text)) {
    if (is_plain_in_url(c)) {
      url += c;
    } else {
      fmt::format_to(std::back_inserter(url), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return url;
}

}  // namespace fathom
