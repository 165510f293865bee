#include "text/json_node.h"

#include <fmt/format.h>

#include "base/error.h"
#include "formats/printable.h"

namespace fathom {
namespace {

constexpr std::size_t longest_key_shown = 80;

}  // namespace

void JsonNode::fail(std::string_view problem) const { throw FileError(*file_, place_, problem); }

void JsonNode::refuse(std::string_view what) const {
  fail(fmt::format("{} is not supported", what));
}

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  require_kind(value_->is_object(), "an object");
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  std::string name = printable(key, longest_key_shown);
  return JsonNode(*file_, *found, place_.empty() ? name : fmt::format("{}.{}", place_, name));
}

JsonNode JsonNode::require(std::string_view key) const {
  auto found = find(key);
  if (!found) fail(fmt::format("\"{}\" is missing", printable(key, longest_key_shown)));
  return *std::move(found);
}

std::size_t JsonNode::size() const {
  require_kind(value_->is_array(), "an array");
  return value_->size();
}

JsonNode JsonNode::at(std::size_t i) const {
  return {*file_, (*value_)[i], fmt::format("{}[{}]", place_, i)};
}

const std::string& JsonNode::string() const {
  require_kind(value_->is_string(), "a string");
  return value_->get_ref<const std::string&>();
}

std::size_t JsonNode::id() const {
  require_kind(value_->is_number_unsigned(), "a number that is an id");
  return value_->get<std::size_t>();
}

bool JsonNode::flag(std::string_view key, bool otherwise) const {
  const auto found = find(key);
  if (!found) return otherwise;
  found->require_kind(found->value_->is_boolean(), "true or false");
  return found->value_->get<bool>();
}

std::string JsonNode::text(std::string_view key) const {
  const auto found = find(key);
  return found ? found->string() : std::string();
}

void JsonNode::require_kind(bool is_that, std::string_view what) const {
  if (!is_that) fail(fmt::format("found {}, expected {}", value_->type_name(), what));
}

}  // namespace fathom
