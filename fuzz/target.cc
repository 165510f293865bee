#include "fuzz/target.h"

#include <algorithm>

#include <fmt/format.h>

namespace fathom {
namespace {

constexpr std::size_t longest_message = 2000;

}  // namespace

void require_promise(bool kept, const std::string& message) {
  if (!kept) throw BrokenPromise(message);
}

void check_message(const std::string& message, const std::string& origin) {
  const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
  require_promise(std::all_of(message.begin(), message.end(), printable),
                  "a message that is not printable: " + message);
  require_promise(message.size() <= longest_message,
                  fmt::format("a message of {} bytes: {}", message.size(), message));
  require_promise(message.starts_with(origin), "a message that does not name the file: " + message);
}

}  // namespace fathom
