#include "generate/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace fathom {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_) {
    if (string.empty()) throw InputError("an empty stop string would end every answer at once");
  }
}

std::string StopStrings::push(std::string_view text) {
  if (found_) return {};
  held_ += text;
  std::size_t begin = std::string::npos;
  const std::string* first = nullptr;
  for (const std::string& string : strings_) {
    const std::size_t where = held_.find(string);
    if (where == std::string::npos) continue;
    if (where < begin || (where == begin && string.size() > first->size())) {
      begin = where;
      first = &string;
    }
  }
  if (first != nullptr) {
    found_ = *first;
    std::string before = held_.substr(0, begin);
    held_.clear();
    return before;
  }
  // Hold back the longest end of the text that begins some stop string.
  std::size_t hold = 0;
  for (const std::string& string : strings_) {
    for (std::size_t n = std::min(string.size() - 1, held_.size()); n > hold; --n) {
      if (std::string_view(held_).ends_with(std::string_view(string).substr(0, n))) hold = n;
    }
  }
  std::string sure = held_.substr(0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return sure;
}

std::string StopStrings::flush() { return std::exchange(held_, {}); }

}  // namespace fathom
