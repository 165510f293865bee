#pragma once

#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "base/strong_types.h"
#include "metrics/summary.h"

namespace fathom {

/// JSON whose keys stay in the order they are written in.
using Json = nlohmann::ordered_json;

/// Prints one JSON object and a line end on standard output.
void print_json(const Json& json);

/// JSON text; bytes that are no UTF-8 become U+FFFD.
std::string json_text(const Json& json);

Json to_json(std::span<const TokenId> tokens);
Json to_json(const Summary& summary);

}  // namespace fathom
