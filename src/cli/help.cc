#include "cli/help.h"

#include <string>

#include <fmt/format.h>

namespace fathom {

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  const bool flag = option->get_expected_min() == 0;
  const bool positional = option->get_lnames().empty() && option->get_snames().empty();
  if (flag || positional) return {};
  const std::string type = option->get_type_name();  // "UINT:UINT in [...]"
  const std::string_view kind = std::string_view(type).substr(0, type.find_first_of(": "));
  const std::string_view placeholder = kind == "UINT" || kind == "INT" ? "N"
                                       : kind == "FLOAT"               ? "X"
                                                                       : "TEXT";
  const std::string& fallback = option->get_default_str();
  return fallback.empty() ? fmt::format(" {}", placeholder)
                          : fmt::format(" {} [{}]", placeholder, fallback);
}

}  // namespace fathom
