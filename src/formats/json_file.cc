#include "formats/json_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/printable.h"

namespace fathom {
namespace {

using nlohmann::json;

/// Builds the value as the parser reads it, so that a key that comes twice is seen: once parsed,
/// only one of the two is left.
class JsonBuilder final : public json::json_sax_t {
 public:
  struct Problem {
    std::size_t position = 0;  // characters read; 0 if the parser did not say
    std::string text;
  };

  bool null() override { return place(nullptr); }
  bool boolean(bool value) override { return place(value); }
  bool number_integer(number_integer_t value) override { return place(value); }
  bool number_unsigned(number_unsigned_t value) override { return place(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return place(value);
  }
  bool string(string_t& value) override { return place(std::move(value)); }
  bool binary(binary_t& value) override { return place(std::move(value)); }
  bool start_object(std::size_t /*size*/) override { return open(json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*size*/) override { return open(json::array()); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    auto& members = open_.back()->get_ref<json::object_t&>();
    const auto [where, inserted] = members.try_emplace(std::move(name));
    if (!inserted) {
      problem_.text = fmt::format("key {} is there twice", printable_name(where->first));
      return false;
    }
    member_ = &where->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*last_token*/,
                   const json::exception& error) override {
    // The library's text begins with "[...] parse error at line 1, column 2: ".
    std::string_view text = error.what();
    const std::size_t prefix = text.find(": ");
    if (prefix < 100) text.remove_prefix(prefix + 2);
    problem_ = {position, printable(text, 240)};
    return false;
  }

  json take_value() { return std::move(root_); }
  [[nodiscard]] const Problem& problem() const { return problem_; }

 private:
  static constexpr std::size_t deepest = 64;
  static constexpr std::size_t most_values = 8'000'000;

  template <class Value>
  json& put(Value&& value) {
    if (open_.empty()) return root_ = std::forward<Value>(value);
    if (open_.back()->is_object()) return *member_ = std::forward<Value>(value);
    return open_.back()->get_ref<json::array_t&>().emplace_back(std::forward<Value>(value));
  }

  template <class Value>
  bool place(Value&& value) {
    if (!count_value()) return false;
    put(std::forward<Value>(value));
    return true;
  }

  bool count_value() {
    if (++values_ <= most_values) return true;
    problem_.text = fmt::format("more than {} values", most_values);
    return false;
  }

  bool open(json container) {
    if (open_.size() == deepest) {
      problem_.text = fmt::format("nested deeper than {} levels", deepest);
      return false;
    }
    if (!count_value()) return false;
    open_.push_back(&put(std::move(container)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  json root_;
  std::vector<json*> open_;  // the containers around what is read, the outermost first
  std::size_t values_ = 0;
  json* member_ = nullptr;  // where the value of the key just read goes
  Problem problem_;
};

std::string line_and_column(std::string_view text, std::size_t position) {
  const std::string_view before = text.substr(0, position == 0 ? 0 : position - 1);
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return fmt::format("line {}, column {}", std::ranges::count(before, '\n') + 1,
                     before.size() - line_start + 1);
}

std::string describe(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return fmt::format("the string {}", printable_name(value.get_ref<const std::string&>()));
    case json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case json::value_t::number_integer:
      return fmt::format("{}", value.get<std::int64_t>());
    case json::value_t::number_unsigned:
      return fmt::format("{}", value.get<std::uint64_t>());
    case json::value_t::number_float:
      return fmt::format("the float {}", value.get<double>());
    case json::value_t::binary:
    case json::value_t::discarded:
      break;
  }
  return "something else";
}

}  // namespace

json parse_json(std::string_view text, std::string_view file) {
  JsonBuilder builder;
  if (!json::sax_parse(text.data(), text.data() + text.size(), &builder)) {
    const JsonBuilder::Problem& problem = builder.problem();
    throw FileError(file, problem.position == 0 ? "" : line_and_column(text, problem.position),
                    problem.text);
  }
  return builder.take_value();
}

json read_json_object(const std::filesystem::path& path, std::size_t max_bytes) {
  json value = parse_json(read_text_file(path, max_bytes), path.string());
  if (!value.is_object()) {
    throw FileError(path.string(), "",
                    fmt::format("{} found, an object expected", describe(value)));
  }
  return value;
}

JsonFields::JsonFields(std::string file, const json& object)
    : JsonFields(std::move(file), "", object) {}

JsonFields::JsonFields(std::string file, std::string prefix, const json& object)
    : file_(std::move(file)), prefix_(std::move(prefix)), object_(&object) {
  if (!object.is_object()) {
    throw FileError(file_, "", fmt::format("{} found, an object expected", describe(object)));
  }
}

void JsonFields::fail(std::string_view key, std::string_view problem) const {
  throw FileError(file_, fmt::format("key {}", printable_name(prefix_ + std::string(key))),
                  problem);
}

void JsonFields::fail_type(std::string_view key, const json& value,
                           std::string_view expected) const {
  fail(key, fmt::format("{} found, {} expected", describe(value), expected));
}

void JsonFields::fail_missing(std::string_view key, std::string_view expected) const {
  fail(key, fmt::format("missing; {} expected", expected));
}

const json* JsonFields::find(std::string_view key) const {
  const auto where = object_->find(key);
  return where == object_->end() || where->is_null() ? nullptr : &*where;
}

std::uint64_t JsonFields::to_unsigned(std::string_view key, const json& value,
                                      std::uint64_t most) const {
  // The library holds an integer as unsigned unless it is negative or was made in code.
  if (!value.is_number_integer()) fail_type(key, value, "an integer of at least 0");
  if (!value.is_number_unsigned() && value.get<std::int64_t>() < 0) {
    fail_type(key, value, "an integer of at least 0");
  }
  const auto number = value.get<std::uint64_t>();
  if (number > most) fail_type(key, value, fmt::format("at most {}", most));
  return number;
}

double JsonFields::to_float(std::string_view key, const json& value) const {
  if (!value.is_number()) fail_type(key, value, "a number");
  const auto number = value.get<double>();
  if (!std::isfinite(number)) fail_type(key, value, "a finite number");
  return number;
}

std::optional<std::uint64_t> JsonFields::find_unsigned(std::string_view key,
                                                       std::uint64_t most) const {
  const json* const value = find(key);
  if (value == nullptr) return std::nullopt;
  return to_unsigned(key, *value, most);
}

std::optional<double> JsonFields::find_float(std::string_view key) const {
  const json* const value = find(key);
  if (value == nullptr) return std::nullopt;
  return to_float(key, *value);
}

std::optional<bool> JsonFields::find_bool(std::string_view key) const {
  const json* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail_type(key, *value, "true or false");
  return value->get<bool>();
}

const std::string* JsonFields::find_string(std::string_view key) const {
  const json* const value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_string()) fail_type(key, *value, "a string");
  return &value->get_ref<const std::string&>();
}

std::optional<std::vector<std::string>> JsonFields::find_strings(std::string_view key) const {
  const json* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) fail_type(key, *value, "an array of strings");
  std::vector<std::string> result;
  result.reserve(value->size());
  for (const json& element : *value) {
    if (!element.is_string()) fail_type(key, element, "only strings in the array");
    result.push_back(element.get<std::string>());
  }
  return result;
}

std::optional<std::vector<double>> JsonFields::find_floats(std::string_view key) const {
  const json* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) fail_type(key, *value, "an array of numbers");
  std::vector<double> result;
  result.reserve(value->size());
  for (const json& element : *value) result.push_back(to_float(key, element));
  return result;
}

std::optional<std::vector<std::uint64_t>> JsonFields::find_one_or_more_unsigned(
    std::string_view key, std::uint64_t most) const {
  const json* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) return std::vector{to_unsigned(key, *value, most)};
  std::vector<std::uint64_t> result;
  result.reserve(value->size());
  for (const json& element : *value) result.push_back(to_unsigned(key, element, most));
  return result;
}

std::optional<JsonFields> JsonFields::find_object(std::string_view key) const {
  const json* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail_type(key, *value, "an object");
  return JsonFields(file_, fmt::format("{}{}.", prefix_, key), *value);
}

std::uint64_t JsonFields::require_unsigned(std::string_view key, std::uint64_t most) const {
  const std::optional<std::uint64_t> value = find_unsigned(key, most);
  if (!value.has_value()) fail_missing(key, "an integer");
  return *value;
}

double JsonFields::require_float(std::string_view key) const {
  const std::optional<double> value = find_float(key);
  if (!value.has_value()) fail_missing(key, "a number");
  return *value;
}

bool JsonFields::require_bool(std::string_view key) const {
  const std::optional<bool> value = find_bool(key);
  if (!value.has_value()) fail_missing(key, "true or false");
  return *value;
}

const std::string& JsonFields::require_string(std::string_view key) const {
  const std::string* const value = find_string(key);
  if (value == nullptr) fail_missing(key, "a string");
  return *value;
}

}  // namespace fathom
