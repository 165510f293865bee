#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace fathom {

/// Text as it stands in HTML, between tags and in a quoted attribute: it shows as it is, whatever
/// it holds. Ill-formed UTF-8 and control characters other than tab and line end become U+FFFD.
std::string html_text(std::string_view text);

/// JSON as it stands in a <script> element: ASCII, and no "<", so that nothing in it can end the
/// element. Ill-formed UTF-8 becomes U+FFFD, numbers that are not finite become null.
std::string script_json(const nlohmann::ordered_json& json);

/// A data: URL [RFC 2397] of UTF-8 text, ready for a quoted attribute. `media_type` is such as
/// "text/csv". Ill-formed UTF-8 becomes U+FFFD.
std::string data_url(std::string_view media_type, std::string_view text);

}  // namespace fathom
