#include "cli/json_output.h"

#include <cstdio>

namespace fathom {

std::string json_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void print_json(const Json& json) {
  const std::string text = json_text(json) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

Json to_json(std::span<const TokenId> tokens) {
  Json ids = Json::array();
  for (const TokenId token : tokens) ids.push_back(token.value);
  return ids;
}

Json to_json(const Summary& summary) {
  return {{"median", summary.median}, {"minimum", summary.minimum}, {"maximum", summary.maximum}};
}

}  // namespace fathom
